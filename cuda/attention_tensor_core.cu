// Attention forward, third rung: bf16 on the tensor cores.
//
// The tiled rung's walk, with products by mma.sync (16 x 8 x 16, f32 sums), fragments by ldmatrix,
// and k and v arriving by cp.async while the tile before is computed with. A warp's 16 queries stay
// in shared memory, its results in registers. k and v are read once per 64 queries: at T = 256,
// four times, from the L2 cache. 4 l s d FLOPs, at sixteen times f32's peak (sm_80).
//
// d = 256: tiles of 32 keys, 99 KiB of shared memory, 215 registers: two blocks on a multiprocessor
// of sm_90.
// Smaller d: tiles of 64 keys.
#include "cuda/attention.h"
#include "cuda/attention_tensor_core.h"

namespace ito::cuda::attention {
namespace {

/// Over the four threads that hold a row.
template <class F>
__device__ float quad_reduce(float value, F f) {
  value = f(value, __shfl_xor_sync(full_warp, value, 1));
  return f(value, __shfl_xor_sync(full_warp, value, 2));
}

/// The online softmax of a warp's rows, in powers of two: top is the largest score so far, total
/// this thread's share of the sum of 2^(score - top).
struct Softmax {
  float top[2] = {minus_infinity, minus_infinity}, total[2] = {};

  /// Turns a tile of products into probabilities relative to `top`, and scales `sum` down where
  /// `top` rose.
  template <class Tile>
  __device__ void add(typename Tile::Scores& scores, typename Tile::Results& sum, const Inputs& in,
                      const Block& block, Index key0) {
    const Lane l;
    const float scale = static_cast<float>(in.a.scale) * log2_e;
    constexpr int tiles = sizeof(scores) / sizeof(scores[0]);
    const int keys = rows_left(in.a.s, key0, 8 * tiles);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Index query = block.first + l.row(half);
      const bf16* hidden = nullptr;
      if (in.mask != nullptr && query < in.a.l) {
        hidden = mask_row(in.mask, in.a, block.nh, query) + key0;
      }
      float next = top[half];
#pragma unroll
      for (int j = 0; j < tiles; ++j) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          const int key = l.column(j, c);
          float& score = scores[j][2 * half + c];
          score = key < keys ? score * scale : minus_infinity;
          if (hidden != nullptr && key < keys) score += log2_e * to_float(hidden[key]);
          next = fmaxf(next, score);
        }
      }
      next = quad_reduce(next, [](float x, float y) { return fmaxf(x, y); });
      const float shift = finite_shift(next), fade = exp2f(top[half] - shift);
      top[half] = next;
      total[half] *= fade;
#pragma unroll
      for (int j = 0; j < tiles; ++j) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float& score = scores[j][2 * half + c];
          score = exp2f(score - shift);
          total[half] += score;
        }
      }
#pragma unroll
      for (auto& fragment : sum) {
        fragment[2 * half] *= fade;
        fragment[2 * half + 1] *= fade;
      }
    }
  }
};

template <int D, int N>
__global__ void __launch_bounds__(block_threads, 1) forward(Inputs in, bf16* y, float* lse) {
  using Tile = Tile<D, N>;
  ITO_DYNAMIC_SHARED(bf16, own);  // q; two tiles each of k and v
  const Shape& a = in.a;
  const Block block(a.l);
  const Index at = block.first * a.heads * a.d, count = a.l - block.first;
  const int blocks = static_cast<int>((a.d + 15) / 16);
  Tile::template copy<own_rows>(own, head(in.q, a, a.l, block.nh) + at, count, a);

  Softmax softmax;
  typename Tile::Results sum = {};
  for_tiles<Tile, N>(own + Tile::own_size, head(in.k, a, a.s, block.nh),
                     head(in.v, a, a.s, block.nh), a.s, a,
                     [&](const bf16* k, const bf16* v, Index key0) {
                       typename Tile::Scores scores;
                       Tile::multiply(scores, own, k, blocks);
                       softmax.add<Tile>(scores, sum, in, block, key0);
                       typename Tile::Operand p;
                       Tile::pack(p, scores);
                       Tile::accumulate(sum, p, v, blocks);
                     });

  const Lane l;
  float inverse[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float total = quad_reduce(softmax.total[half], Plus{});
    inverse[half] = total == 0.0f ? 0.0f : 1.0f / total;
    if (l.lane % 4 == 0 && l.row(half) < count) {
      lse[block.nh * a.l + block.first + l.row(half)] = (softmax.top[half] + log2f(total)) / log2_e;
    }
  }
  Tile::store(head(y, a, a.l, block.nh) + at, sum, inverse, own, count, a);
}

constexpr int keys_of(int D) { return D > 128 ? 32 : 64; }

template <int D>
constexpr std::size_t shared_bytes() {
  using Tile = Tile<D, keys_of(D)>;
  return sizeof(bf16) * (Tile::own_size + 4 * Tile::other_size);
}

}  // namespace

bool can_use_tensor_core(const Forward& args) {
  bool fits = false;
  with_dimension(args.shape.d,
                 [&](auto D) { fits = shared_bytes<D>() <= properties().shared_memory_per_block; });
  return fits && fits_tensor_core(args.shape, args.dtype, args.q, args.k, args.v, args.y);
}

void tensor_core(const Forward& args) {
  const auto of = [](const void* p) { return static_cast<const bf16*>(p); };
  const Inputs in{of(args.q), of(args.k), of(args.v), of(args.mask),
                  nullptr,    nullptr,    nullptr,    args.shape};
  with_dimension(args.shape.d, [&](auto D) {
    launch(forward<D, keys_of(D)>, tensor_core_blocks(args.shape, args.shape.l), block_threads,
           shared_bytes<D>(), in, static_cast<bf16*>(args.y), static_cast<float*>(args.lse));
  });
}

}  // namespace ito::cuda::attention
