// Attention's gradient, third rung: bf16 on the tensor cores.
//
// Two or three passes, each owning what it sums, so that no sum is shared between blocks: dq walks
// the keys, dk and dv walk the queries. Every pass computes the scores again from q, k and lse, and
// nothing of size l x s touches memory. At d <= 128 one pass sums dk and dv: 6 + 8 = 14 l s d
// FLOPs. At d = 256 a warp's 16 x 256 results are 128 registers per thread, and two of them do not
// fit: dk and dv take a pass each, 6 + 6 + 4 = 16 l s d FLOPs.
//
// At d = 256: 99 KiB of shared memory (64 rows of two arrays; two tiles of 16 rows of the other
// two), 219 registers.
#include "cuda/attention.h"
#include "cuda/attention_tensor_core.h"

namespace ito::cuda::attention {
namespace {

enum class Pass { dq, dk, dv, dk_dv };
constexpr bool owns_keys(Pass pass) { return pass != Pass::dq; }
constexpr bool has_dv(Pass pass) { return pass == Pass::dv || pass == Pass::dk_dv; }
constexpr bool has_ds(Pass pass) { return pass != Pass::dv; }  // dq or dk

/// Of products q k^T (scores) and dy v^T (dp): probabilities, and the gradient of scale q k^T
/// without the scale. Rows are the block's own, columns those of the tile from `first` on.
template <class Tile, Pass pass>
__device__ void differentiate(typename Tile::Scores& scores, typename Tile::Scores& dp,
                              const Inputs& in, const Block& block, Index first) {
  const Lane l;
  const Shape& a = in.a;
  const float scale = static_cast<float>(a.scale) * log2_e;
  constexpr int tiles = sizeof(scores) / sizeof(scores[0]);
  constexpr bool keys = owns_keys(pass);
  const int rows = rows_left(keys ? a.s : a.l, block.first, own_rows);
  const int columns = rows_left(keys ? a.l : a.s, first, 8 * tiles);
  const Index query0 = keys ? first : block.first, key0 = keys ? block.first : first;
  const float* const lse = in.lse + block.nh * a.l + query0;
  const float* const dot = in.dy_dot_y + block.nh * a.l + query0;
#pragma unroll
  for (int j = 0; j < tiles; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = l.row(i / 2), column = l.column(j, i % 2);
      const int query = keys ? column : row, key = keys ? row : column;
      const bool exists = row < rows && column < columns;
      float p = 0.0f;
      if (exists) {
        float score = scores[j][i] * scale;
        if (in.mask != nullptr) {
          score += log2_e * to_float(mask_row(in.mask, a, block.nh, query0 + query)[key0 + key]);
        }
        p = lse[query] == minus_infinity ? 0.0f : exp2f(score - log2_e * lse[query]);
      }
      scores[j][i] = p;
      if (has_ds(pass)) dp[j][i] = exists ? p * (dp[j][i] - dot[query]) : 0.0f;
    }
  }
}

template <int D, int N, Pass pass>
__global__ void __launch_bounds__(block_threads, 1) gradient(Inputs in, bf16* dqk, bf16* dv) {
  using Tile = Tile<D, N>;
  constexpr bool keys = owns_keys(pass);
  ITO_DYNAMIC_SHARED(bf16, own);            // q, or k
  bf16* const own2 = own + Tile::own_size;  // dy, or v
  bf16* const shared = own2 + (has_ds(pass) ? Tile::own_size : 0);
  const Shape& a = in.a;
  const Index length = keys ? a.s : a.l, others = keys ? a.l : a.s;
  const Block block(length);
  const Index at = block.first * a.heads * a.d, count = length - block.first;
  const int blocks = static_cast<int>((a.d + 15) / 16);
  Tile::template copy<own_rows>(own, head(keys ? in.k : in.q, a, length, block.nh) + at, count, a);
  if (has_ds(pass)) {
    Tile::template copy<own_rows>(own2, head(keys ? in.v : in.dy, a, length, block.nh) + at, count,
                                  a);
  }

  typename Tile::Results sum = {}, sum_v = {};
  for_tiles<Tile, N>(shared, head(keys ? in.q : in.k, a, others, block.nh),
                     head(keys ? in.dy : in.v, a, others, block.nh), others, a,
                     [&](const bf16* other, const bf16* other2, Index first) {
                       typename Tile::Scores scores, dp;
                       typename Tile::Operand p;
                       Tile::multiply(scores, own, other, blocks);
                       if (has_ds(pass)) Tile::multiply(dp, own2, other2, blocks);
                       differentiate<Tile, pass>(scores, dp, in, block, first);
                       if (has_dv(pass)) {
                         Tile::pack(p, scores);
                         Tile::accumulate(sum_v, p, other2, blocks);
                       }
                       if (has_ds(pass)) {
                         Tile::pack(p, dp);
                         Tile::accumulate(sum, p, other, blocks);
                       }
                     });

  const float scale = static_cast<float>(a.scale), scales[2] = {scale, scale}, ones[2] = {1, 1};
  if (has_ds(pass)) {
    Tile::store(head(dqk, a, length, block.nh) + at, sum, scales, own, count, a);
  }
  if (has_dv(pass)) Tile::store(head(dv, a, length, block.nh) + at, sum_v, ones, own, count, a);
}

constexpr int others_of(int D) { return D > 128 ? 16 : 32; }

template <int D>
constexpr std::size_t shared_bytes(bool two_own) {
  using Tile = Tile<D, others_of(D)>;
  return sizeof(bf16) * ((two_own ? 2 : 1) * Tile::own_size + 4 * Tile::other_size);
}

template <int D, Pass pass>
void run(const Inputs& in, bf16* dqk, bf16* dv) {
  launch(gradient<D, others_of(D), pass>,
         tensor_core_blocks(in.a, owns_keys(pass) ? in.a.s : in.a.l), block_threads,
         shared_bytes<D>(has_ds(pass)), in, dqk, dv);
}

}  // namespace

bool can_use_tensor_core(const Gradient& args) {
  bool fits = false;
  with_dimension(args.shape.d, [&](auto D) {
    fits = shared_bytes<D>(true) <= properties().shared_memory_per_block;
  });
  return fits && fits_tensor_core(args.shape, args.dtype, args.q, args.k, args.v, args.dy, args.dq,
                                  args.dk, args.dv);
}

void tensor_core(const Gradient& args) {
  const Shape& a = args.shape;
  Scratch<float> dy_dot_y(a.n * a.heads * a.l);
  row_dots(args, dy_dot_y.data());
  const auto of = [](const void* p) { return static_cast<const bf16*>(p); };
  const Inputs in{of(args.q),      of(args.k),
                  of(args.v),      of(args.mask),
                  of(args.dy),     static_cast<const float*>(args.lse),
                  dy_dot_y.data(), a};
  auto *dq = static_cast<bf16*>(args.dq), *dk = static_cast<bf16*>(args.dk),
       *dv = static_cast<bf16*>(args.dv);
  with_dimension(a.d, [&](auto D) {
    run<D, Pass::dq>(in, dq, nullptr);
    if constexpr (D > 128) {
      run<D, Pass::dk>(in, dk, nullptr);
      run<D, Pass::dv>(in, nullptr, dv);
    } else {
      run<D, Pass::dk_dv>(in, dk, dv);
    }
  });
}

}  // namespace ito::cuda::attention
