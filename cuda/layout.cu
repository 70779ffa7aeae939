// Copies between strided views, as bits.
//
// Bound by memory: each element is read and written once. Four ways, the first that fits:
//   dense          CUDA's own copy
//   repeated       the last axis repeats one element: vectors of 16 bytes are written
//   transposition  the last axis steps over rows of the source: tiles of 32 x 32 go through shared
//                  memory, so that both sides use whole cache lines (33 elements apart: a column of
//                  a tile lies in 32 banks)
//   by elements    neighbouring threads write neighbours. Runs that are dense on both sides are
//                  moved in units of up to 16 bytes, the widest that every size, step and pointer
//                  is a multiple of
#include <bit>
#include <utility>

#include "cuda/index.h"
#include "tensor/kernels/layout.h"
#include "tensor/math.h"

namespace ito::kernel {
namespace {

using namespace cuda;

constexpr int threads = 256;
constexpr int tile = 32;

using Space = IndexSpace<2, CopyIndex::max_rank>;  // x, y

Space space_of(const CopyIndex& index, int rank) {
  Space space;
  space.rank = rank;
  for (int d = 0; d < rank; ++d) {
    space.size[d] = FastDivmod(index.size[d]);
    space.step[0][d] = index.x_step[d];
    space.step[1][d] = index.y_step[d];
  }
  return space;
}

template <class U>
__global__ void copy_elements(const U* x, U* y, Space space, std::int64_t n) {
  for (std::int64_t i : grid_stride(n)) {
    std::int64_t at[2];
    space.offsets(i, at);
    y[at[1]] = x[at[0]];
  }
}

// The last axis, counted in vectors of V, repeats one element of x.
template <int V, class U>
__global__ void repeat_elements(const U* x, U* y, Space space, std::int64_t n) {
  for (std::int64_t i : grid_stride(n)) {
    std::int64_t at[2];
    space.offsets(i, at);
    const U value = x[at[0]];
    Vec<U, V> pattern;
    for (int k = 0; k < V; ++k) pattern[k] = value;
    store(y + at[1], pattern);
  }
}

// Tiles of `columns` (dense in y) by `rows` (dense in x); `outer` numbers the transpositions.
struct Tiles {
  std::int64_t rows, columns, x_step, y_step;
  FastDivmod down, across;  // tiles in a column and in a row of tiles
  std::int64_t count;       // in all
};
template <class U>
__global__ void copy_tiles(const U* x, U* y, Space outer, Tiles tiles) {
  ITO_SHARED(U, cell, [tile][tile + 1]);
  const int tx = static_cast<int>(threadIdx.x) % tile, ty = static_cast<int>(threadIdx.x) / tile;
  for (std::int64_t t = blockIdx.x; t < tiles.count; t += gridDim.x) {
    const std::int64_t rest = tiles.across.quotient(t), o = tiles.down.quotient(rest);
    const std::int64_t c0 = (t - rest * tiles.across.divisor) * tile;
    const std::int64_t r0 = (rest - o * tiles.down.divisor) * tile;
    std::int64_t at[2];
    outer.offsets(o, at);
    for (int k = ty; k < tile; k += threads / tile) {
      if (r0 + tx < tiles.rows && c0 + k < tiles.columns) {
        cell[k][tx] = x[at[0] + r0 + tx + (c0 + k) * tiles.x_step];
      }
    }
    __syncthreads();
    for (int k = ty; k < tile; k += threads / tile) {
      if (r0 + k < tiles.rows && c0 + tx < tiles.columns) {
        y[at[1] + (r0 + k) * tiles.y_step + c0 + tx] = cell[tx][k];
      }
    }
    __syncthreads();
  }
}

// Moves the axis of the source's neighbours next to the last axis; false if there is none, or if
// either side is too short for tiles.
bool find_transposition(CopyIndex& index) {
  const int last = index.rank - 1;
  if (index.y_step[last] != 1 || index.x_step[last] <= 1 || index.size[last] < 8) return false;
  for (int d = 0; d < last; ++d) {
    if (index.x_step[d] != 1 || index.size[d] < 8) continue;
    for (int i = d; i + 1 < last; ++i) {
      std::swap(index.size[i], index.size[i + 1]);
      std::swap(index.x_step[i], index.x_step[i + 1]);
      std::swap(index.y_step[i], index.y_step[i + 1]);
    }
    return true;
  }
  return false;
}

template <class U>
void transpose(const CopyIndex& index, const U* x, U* y, std::int64_t n) {
  const int last = index.rank - 1, other = last - 1;
  Tiles tiles{
      index.size[other], index.size[last], index.x_step[last], index.y_step[other], {}, {}, 0};
  tiles.down = FastDivmod(ceil_div(tiles.rows, tile));
  tiles.across = FastDivmod(ceil_div(tiles.columns, tile));
  tiles.count = n / (tiles.rows * tiles.columns) * tiles.down.divisor * tiles.across.divisor;
  cuda::launch(copy_tiles<U>, blocks_for(tiles.count, 1), threads, 0, x, y, space_of(index, other),
               tiles);
}

// The widest unit in bytes that a copy with dense runs can be cut into: what divides all its
// pointers, steps and the runs themselves.
std::int64_t widest_unit(const Copy::Args& a) {
  const int last = a.index.rank - 1;
  auto bits = reinterpret_cast<std::uintptr_t>(a.x) | reinterpret_cast<std::uintptr_t>(a.y) | 16;
  bits |= static_cast<std::uintptr_t>(a.index.size[last] * a.element);
  for (int d = 0; d < last; ++d) {
    bits |= static_cast<std::uintptr_t>(a.index.x_step[d] * a.element);
    bits |= static_cast<std::uintptr_t>(a.index.y_step[d] * a.element);
  }
  return std::int64_t{1} << std::countr_zero(bits);
}

template <class U>
void copy(const Copy::Args& a) {
  const U* x = static_cast<const U*>(a.x);
  U* y = static_cast<U*>(a.y);
  CopyIndex index = a.index;
  const int last = index.rank - 1;
  constexpr int V = in_16_bytes<U>;
  const bool dense = index.x_step[last] == 1 && index.y_step[last] == 1;
  bool whole_vectors = index.y_step[last] == 1 && index.size[last] % V == 0 && all_aligned(y);
  for (int d = 0; d < last; ++d) whole_vectors = whole_vectors && index.y_step[d] % V == 0;
  if (!dense && index.x_step[last] == 0 && whole_vectors) {
    index.size[last] /= V;
    index.y_step[last] = V;
    cuda::launch(repeat_elements<V, U>, blocks_for(a.n / V, threads), threads, 0, x, y,
                 space_of(index, index.rank), a.n / V);
  } else if (!dense && find_transposition(index)) {
    transpose(index, x, y, a.n);
  } else {
    cuda::launch(copy_elements<U>, blocks_for(a.n, threads), threads, 0, x, y,
                 space_of(index, index.rank), a.n);
  }
}

void copy_as_unit(const Copy::Args& a) {
  switch (a.element) {
    case 1:
      return copy<std::uint8_t>(a);
    case 2:
      return copy<std::uint16_t>(a);
    case 4:
      return copy<std::uint32_t>(a);
    case 8:
      return copy<std::uint64_t>(a);
    default:
      return copy<Vec<std::uint64_t, 2>>(a);
  }
}

}  // namespace

void Copy::cuda(const Args& args) {
  if (args.n == 0) return;
  Args a = args;
  const int last = a.index.rank - 1;
  const bool dense = a.index.x_step[last] == 1 && a.index.y_step[last] == 1;
  if (dense && last == 0) {
    check(cudaMemcpyAsync(a.y, a.x, static_cast<std::size_t>(a.n * a.element),
                          cudaMemcpyDeviceToDevice, stream()),
          "cudaMemcpyAsync on the device");
    return;
  }
  if (dense) {
    const std::int64_t unit = widest_unit(a), elements = unit / a.element;
    a.index.size[last] /= elements;
    for (int d = 0; d < last; ++d) {
      a.index.x_step[d] /= elements;
      a.index.y_step[d] /= elements;
    }
    a.n /= elements;
    a.element = unit;
  }
  copy_as_unit(a);
}

}  // namespace ito::kernel
