// Rung 2 of convolution and of its input gradient: tensor cores. The matrix product of
// conv_tensor_core.h with the left matrix gathered by cp.async, 8 channels of a tap at a time,
// zeros where a tap lies outside the image; the weights [out, taps, in] are the right matrix as
// they lie in memory.
//
// What it changes: mma.sync instead of scalar multiply-adds (16 times their rate on an H200), and
// copies that pass by the registers and overlap with the products of the blocks before. Per 16
// bytes copied a thread spends an addition, a multiply-add, a comparison, a selection and the copy.
//
// Cost, tile 128 x 128 x 32: 1.05 MFLOP per 16 KiB copied (64 FLOP/byte: 790 TFLOP/s would copy
// 12 TB/s). Half of that are pixels, which the taps of a slab read again one after another and find
// in the first-level cache; the other half weights, from L2. Shared memory, per warp and 16 of k:
// 4 KiB read for 131 kFLOP. 48 KiB of shared memory, 4 warps, 224 registers: two blocks fit on a
// multiprocessor. Global memory: x, weight and y once each; with split sums 8 bytes per output and
// split more.
#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "cuda/conv_pack.h"
#include "cuda/conv_tensor_core.h"
#include "tensor/math.h"

namespace ito::cuda::conv {
namespace {

/// The chunks of a tile of `rows` rows that one thread copies: one column, every pass-th row.
template <class Tile, int rows_>
struct Share {
  static constexpr int chunks = Tile::k / 8, pass = Tile::threads / chunks;
  static constexpr int rows = ceil_div(rows_, pass);
  static constexpr bool partly = rows_ % pass != 0;  // then only some threads have a row
  static_assert(pass % 8 == 0 && (!partly || rows == 1));
  static constexpr int step = pass * Tile::k;  // from row to row in the tile, in elements
  static __device__ int row() { return static_cast<int>(threadIdx.x) / chunks; }
  static __device__ int column() { return static_cast<int>(threadIdx.x) % chunks; }
};

/// Brings pixels and weights of one block of k after the other into shared memory, 16 bytes at a
/// time: the same chunk of k for both.
template <class Tile>
class Loader {
  using Pixels = Share<Tile, Tile::m>;
  using Weights = Share<Tile, Tile::n>;

 public:
  __device__ Loader(const Correlation& c, int first_m, int first_n, int first_k)
      : c_(c),
        to_(swizzled<Pixels::chunks>(Pixels::row(), Pixels::column())),
        tap_(c, first_k + 8 * Pixels::column()),
        outputs_(c.out - first_n - Weights::row()),
        weight_(static_cast<const bf16*>(c.weight) +
                static_cast<std::int64_t>(first_n + Weights::row()) * c.depth()) {
#pragma unroll
    for (int j = 0; j < Pixels::rows; ++j) {
      pixel_[j] = pixel_of(c, first_m + Pixels::row() + j * Pixels::pass);
    }
  }
  __device__ __forceinline__ void load(bf16* tile_a, bf16* tile_b) {
    const Column<bf16> column(c_, tap_);
#pragma unroll
    for (int j = 0; j < Pixels::rows; ++j) {
      if (Pixels::partly && Pixels::row() >= Tile::m) break;
      ptx::cp_async_16_cached(tile_a + to_ + j * Pixels::step, column.at(pixel_[j].index),
                              column.inside(pixel_[j]));
    }
    const bf16* weight = weight_ + tap_.in_weight(c_);
    const int outputs = column.valid ? outputs_ : 0;
#pragma unroll
    for (int j = 0; j < Weights::rows; ++j) {
      if (Weights::partly && Weights::row() >= Tile::n) break;
      ptx::cp_async_16(tile_b + to_ + j * Weights::step,
                       weight + static_cast<std::int64_t>(j * Weights::pass) * c_.depth(),
                       j * Weights::pass < outputs);
    }
    tap_.advance(c_, Tile::k);
  }

 private:
  const Correlation& c_;
  int to_;
  Tap tap_;
  int outputs_;
  const bf16* weight_;
  Pixel pixel_[Pixels::rows];
};

/// What one launch computes: the classes of an input gradient at stride 2 have a quarter of the
/// pixels each, and fill the device together.
struct Problems {
  static constexpr int max_count = 4;
  Correlation at[max_count];
  int count = 0;
};

/// Block (tile, split, problem): the tiles of one row of tiles stand side by side, so that they
/// find its pixels in the second-level cache.
template <class Tile>
__global__ void __launch_bounds__(Tile::threads)
    correlate(const Problems problems, int tiles_n, bool vectors) {
  ITO_DYNAMIC_SHARED(bf16, ring);
  const Correlation& c = problems.at[blockIdx.z];
  const int tile = static_cast<int>(blockIdx.x), split = static_cast<int>(blockIdx.y);
  const int first_m = tile / tiles_n * Tile::m, first_n = tile % tiles_n * Tile::n;
  if (first_m >= c.pixels) return;  // a class of fewer pixels than others
  const int all = ceil_div(c.depth(), Tile::k), splits = static_cast<int>(gridDim.y);
  const int blocks = ceil_div(all, splits), begin = split * blocks;
  Loader<Tile> loader(c, first_m, first_n, begin * Tile::k);
  Sums<Tile> sums = {};
  multiply<Tile>(loader, min(all - begin, blocks), ring, sums);
  for_rows<Tile>(sums, ring, [&](int row, int column, float(&values)[8]) {
    const int m = first_m + row, o = first_n + column;
    if (m >= c.pixels || o >= c.out) return;
    if (c.partial != nullptr) {
      store_partial(c.partial, c.pixels, c.out, split, m, o, values);
    } else {
      store_result<bf16>(c, m, o, values, vectors);
    }
  });
}

template <int m, int n, int k, int warp_m, int warp_n, int stages>
using Forward = Tiling<m, n, k, warp_m, warp_n, stages, Major::k>;

template <class Tile>
void run(const Problems& problems, int splits) {
  int tiles_m = 0;
  bool vectors = true;
  for (int i = 0; i < problems.count; ++i) {
    tiles_m = std::max(tiles_m, ceil_div(problems.at[i].pixels, Tile::m));
    vectors = vectors && can_use_vectors<bf16>(problems.at[i], 8);
  }
  const int tiles_n = ceil_div(problems.at[0].out, Tile::n);
  const dim3 grid(static_cast<unsigned>(tiles_m) * static_cast<unsigned>(tiles_n),
                  static_cast<unsigned>(splits), static_cast<unsigned>(problems.count));
  launch(correlate<Tile>, grid, Tile::threads, Tile::shared_bytes, problems, tiles_n, vectors);
}

constexpr int block_k = 32;
using Tile128x128 = Forward<128, 128, block_k, 64, 64, 3>;
using Tile128x64 = Forward<128, 64, block_k, 64, 32, 4>;
using Tile64x64 = Forward<64, 64, block_k, 32, 32, 4>;
using Tile128x32 = Forward<128, 32, block_k, 32, 32, 4>;
using Tile128x16 = Forward<128, 16, block_k, 32, 16, 4>;

struct Variant {
  Partition partition;
  void (*run)(const Problems&, int splits);
};
template <class Tile>
constexpr Variant variant{{Tile::m, Tile::n, 0}, run<Tile>};
constexpr std::array variants = {variant<Tile128x128>, variant<Tile128x64>, variant<Tile64x64>,
                                 variant<Tile128x32>, variant<Tile128x16>};
constexpr std::array<Partition, variants.size()> partitions = [] {
  std::array<Partition, variants.size()> list{};
  for (std::size_t i = 0; i < list.size(); ++i) list[i] = variants[i].partition;
  return list;
}();

void run(Problems problems, const Partition& requested) {
  std::int64_t pixels = 0;
  int depth = 0;
  for (int i = 0; i < problems.count; ++i) {
    Correlation& c = problems.at[i];
    c.slab = block_k;
    pixels += c.pixels, depth = std::max(depth, c.depth());
  }
  const int out = problems.at[0].out;
  const Partition partition =
      choose_partition({pixels, out, depth, block_k, tensor_core_rate}, partitions, requested);
  std::optional<Scratch<float>> partial;
  if (partition.splits > 1) {
    partial.emplace(partition.splits * pixels * out);
    float* next = partial->data();
    for (int i = 0; i < problems.count; ++i) {
      problems.at[i].partial = next;
      next += std::int64_t{partition.splits} * problems.at[i].pixels * out;
    }
  }
  for (const Variant& v : variants) {
    if (v.partition.m == partition.m && v.partition.n == partition.n)
      v.run(problems, partition.splits);
  }
  for (int i = 0; partition.splits > 1 && i < problems.count; ++i) {
    add_splits<bf16>(problems.at[i], partition.splits);
  }
}

void expect_bf16(const char* op, DType dtype) {
  if (dtype == DType::bf16) return;
  throw DTypeError(std::string(op) + ": the tensor-core kernels compute in bf16; got " +
                   name_of(dtype));
}

}  // namespace

std::span<const Partition> tensor_core_partitions() { return partitions; }

void tensor_core(const kernel::Conv2d::Args& a, Partition requested) {
  expect_bf16(kernel::Conv2d::name, a.dtype);
  const kernel::ConvShape& s = a.shape;
  const PaddedChannels x(a.x, s.n * s.h * s.w, s.in - a.x2_channels, a.x2, a.x2_channels);
  const PaddedChannels weight(a.weight, s.out * s.kh * s.kw, s.in);
  Correlation c = forward_problem(a);
  c.x[0] = x.source(0), c.x[1] = x.source(1);
  c.in = x.channels();
  c.weight = weight.data();
  run({{c}, 1}, requested);
}

void tensor_core(const kernel::Conv2dInputGrad::Args& a, Partition requested) {
  expect_bf16(kernel::Conv2dInputGrad::name, a.dtype);
  const kernel::ConvShape& s = a.shape;
  const PaddedChannels dy(a.dy, s.n * s.p * s.q, s.out);
  Scratch<bf16> packed(s.in * s.kh * s.kw * dy.channels());
  pack_flipped(static_cast<const bf16*>(a.weight), s, dy.channels(), packed.data());
  Problems problems;
  for (const Correlation& c : input_grad_problems(a, dy.data(), packed.data(), dy.channels())) {
    problems.at[problems.count++] = c;
    if (problems.count == Problems::max_count) run(std::exchange(problems, {}), requested);
  }
  if (problems.count > 0) run(problems, requested);
}

}  // namespace ito::cuda::conv
