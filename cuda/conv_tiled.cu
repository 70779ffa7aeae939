// Rung 1 of convolution and of its input gradient: tiles in shared memory and registers, f32
// multiply-adds, any number of channels, f32 or bf16 in memory (conv_tiled.h has the product).
//
// What it changes: 0.06 instead of 8 bytes loaded per multiply-add, so the arithmetic units bind
// and no longer the load units. FLOPs as the naive rung, rounded up to whole tiles.
#include <array>

#include "cuda/conv_pack.h"
#include "cuda/conv_tiled.h"
#include "tensor/math.h"

namespace ito::cuda::conv {
namespace {

/// Thread t brings step t % 8 of each block of k, for every 32nd row of both operands.
template <class T, class Tile>
class Fetch {
  static constexpr int pass = Tile::threads / Tile::k;
  static constexpr int rows_m = Tile::m / pass, rows_n = Tile::n / pass;

 public:
  __device__ Fetch(const Correlation& c, int first_m, int first_n, int first_k)
      : c_(c),
        k_(static_cast<int>(threadIdx.x) % Tile::k),
        row_(static_cast<int>(threadIdx.x) / Tile::k),
        tap_(c, first_k + k_),
        outputs_(c.out - first_n - row_),
        weight_(static_cast<const T*>(c.weight) + std::int64_t{first_n + row_} * c.depth()) {
#pragma unroll
    for (int j = 0; j < rows_m; ++j) pixel_[j] = pixel_of(c, first_m + row_ + j * pass);
  }
  __device__ __forceinline__ void fetch() {
    const Column<T> column(c_, tap_);
#pragma unroll
    for (int j = 0; j < rows_m; ++j) {
      a_[j] = column.inside(pixel_[j]) ? to_float(*column.at(pixel_[j].index)) : 0.0f;
    }
    const T* weight = weight_ + tap_.in_weight(c_);
#pragma unroll
    for (int j = 0; j < rows_n; ++j) {
      const bool there = column.valid && j * pass < outputs_;
      b_[j] = there ? to_float(weight[std::int64_t{j * pass} * c_.depth()]) : 0.0f;
    }
    tap_.advance(c_, Tile::k);
  }
  __device__ __forceinline__ void put(float* tile_a, float* tile_b) const {
#pragma unroll
    for (int j = 0; j < rows_m; ++j) tile_a[k_ * Tile::m_stride + row_ + j * pass] = a_[j];
#pragma unroll
    for (int j = 0; j < rows_n; ++j) tile_b[k_ * Tile::n_stride + row_ + j * pass] = b_[j];
  }

 private:
  const Correlation& c_;
  int k_, row_;
  Tap tap_;
  int outputs_;
  const T* weight_;
  Pixel pixel_[rows_m];
  float a_[rows_m], b_[rows_n];
};

template <class T, class Tile>
__global__ void __launch_bounds__(Tile::threads, 2)
    correlate_tiled(Correlation c, int tiles_n, int blocks, bool vectors) {
  ITO_SHARED(FourFloats, vectors_of_stages, [2 * Tile::stage / 4]);
  float* shared = reinterpret_cast<float*>(vectors_of_stages);
  const int tile = static_cast<int>(blockIdx.x), split = static_cast<int>(blockIdx.y);
  const int first_m = tile / tiles_n * Tile::m, first_n = tile % tiles_n * Tile::n;
  const int begin = split * blocks, all = ceil_div(c.depth(), Tile::k);
  Fetch<T, Tile> fetch(c, first_m, first_n, begin * Tile::k);
  float sums[Tile::rows][Tile::columns] = {};
  multiply<Tile>(fetch, min(all - begin, blocks), shared, sums);
  for_rows<Tile>(sums, [&](int row, int column, float(&values)[4]) {
    const int m = first_m + row, o = first_n + column;
    if (m >= c.pixels || o >= c.out) return;
    if (c.partial != nullptr) {
      store_partial(c.partial, c.pixels, c.out, split, m, o, values);
    } else {
      store_result<T>(c, m, o, values, vectors);
    }
  });
}

template <class T, class Tile>
void run(const Correlation& c, int splits) {
  const int tiles_m = ceil_div(c.pixels, Tile::m);
  const int tiles_n = ceil_div(c.out, Tile::n);
  const int all = ceil_div(c.depth(), Tile::k);
  const dim3 grid(static_cast<unsigned>(tiles_m) * static_cast<unsigned>(tiles_n),
                  static_cast<unsigned>(splits));
  launch(correlate_tiled<T, Tile>, grid, Tile::threads, 0, c, tiles_n, ceil_div(all, splits),
         can_use_vectors<T>(c, 4));
}

using Large = Registers<128, 128>;
using Small = Registers<64, 64>;
constexpr std::array partitions = {Partition{Large::m, Large::n, 0},
                                   Partition{Small::m, Small::n, 0}};

template <class T>
void run(Correlation c, const Partition& requested) {
  c.slab = 4 * Large::k;
  const Partition partition =
      choose_partition({c.pixels, c.out, c.depth(), Large::k, f32_rate}, partitions, requested);
  std::optional<Scratch<float>> partial;
  if (partition.splits > 1) {
    partial.emplace(std::int64_t{partition.splits} * c.pixels * c.out);
    c.partial = partial->data();
  }
  partition.m == Large::m ? run<T, Large>(c, partition.splits) : run<T, Small>(c, partition.splits);
  if (partition.splits > 1) add_splits<T>(c, partition.splits);
}

}  // namespace

std::span<const Partition> tiled_partitions() { return partitions; }

void tiled(const kernel::Conv2d::Args& a, Partition requested) {
  with_element(kernel::Conv2d::name, a.dtype,
               [&]<class T>(T) { run<T>(forward_problem(a), requested); });
}

void tiled(const kernel::Conv2dInputGrad::Args& a, Partition requested) {
  with_element(kernel::Conv2dInputGrad::name, a.dtype, [&]<class T>(T) {
    const kernel::ConvShape& s = a.shape;
    const int channels = static_cast<int>(s.out);
    Scratch<T> packed(s.in * s.kh * s.kw * s.out);
    pack_flipped(static_cast<const T*>(a.weight), s, channels, packed.data());
    for (const Correlation& c : input_grad_problems(a, a.dy, packed.data(), channels)) {
      run<T>(c, requested);
    }
  });
}

}  // namespace ito::cuda::conv
