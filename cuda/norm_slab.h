// How the slab and streaming rungs cut x into slabs, and a slab among the threads of a block.
//
//             channels of the slab: `columns` vectors of N
//   position  [v v v v]   thread t works on column t % columns, at positions
//             [v v v v]   t / columns + k rows: its channels never change, so that their mean,
//             [v v v v]   scale and sums stay in registers, and a warp reads whole rows of the
//             slab.
//
// A slab is whole groups, and a multiple of the 32 bytes that memory moves at a time where two such
// slabs fit on a multiprocessor; else of a vector, and two blocks share what is moved.
#pragma once

#include <numeric>

#include "cuda/norm_arrays.h"
#include "tensor/math.h"

namespace ito::cuda::norm {

inline constexpr int max_threads = 256;

/// A launch's tiling, made on the host.
struct Tiling {
  int width = 0;          ///< channels of a slab; the last of an image may have fewer
  int threads = 0;        ///< of a block
  Index slabs = 0;        ///< of an image
  std::size_t bytes = 0;  ///< of one array's slab
};

/// The tiling for vectors of `vector` channels; `arrays` is how many slabs a block keeps in shared
/// memory, if any. Slabs are widened up to 128 bytes while three blocks fit on a multiprocessor, so
/// that some load while others compute.
inline Tiling tiling_for(const Shape& s, int vector, int element, int arrays) {
  const Index group = s.channels / s.groups, channel = element * s.positions * arrays;  // bytes
  const Index limit = static_cast<Index>(properties().shared_memory_per_block);
  Index unit = std::lcm(group, Index{32 / element});
  if (unit * channel > limit / 2) unit = std::lcm(group, Index{vector});
  unit = std::min(unit, s.channels);
  Index width = unit;
  while (width + unit <= s.channels && (width + unit) * element <= 128 &&
         (width + unit) * channel <= limit / 3) {
    width += unit;
  }
  const Index columns = width / vector, vectors = columns * s.positions;
  if (columns > max_threads) return {};
  return {static_cast<int>(width),
          static_cast<int>(std::min<Index>(max_threads, (vectors + 31) / 32 * 32)),
          ceil_div(s.channels, width), static_cast<std::size_t>(width * element * s.positions)};
}

/// Vectors of 16 bytes need arrays and channel counts that are multiples of them.
template <class T, class... P>
int vector_for(const Shape& s, P... arrays) {
  constexpr int size = Vec<T>::size;
  const bool whole = s.channels % size == 0 && s.x2_channels % size == 0;
  return whole && (is_aligned<Vec<T>>(arrays) && ...) ? size : 1;
}

/// A thread's place in its block's slab.
template <int N>
struct Place {
  Index image;
  int first;    ///< channel that the slab begins with
  int width;    ///< channels of the slab
  int columns;  ///< vectors of a position
  int rows;     ///< positions that the block works on at a time
  int column, row;

  __device__ Place(const Shape& s, int slab_width, int slabs)
      : image(blockIdx.x / slabs),
        first(static_cast<int>(blockIdx.x % slabs) * slab_width),
        width(min(slab_width, static_cast<int>(s.channels) - first)),
        columns(width / N),
        rows(static_cast<int>(blockDim.x) / columns),
        column(static_cast<int>(threadIdx.x) % columns),
        row(static_cast<int>(threadIdx.x) / columns) {}

  __device__ int channel() const { return first + column * N; }
  /// f(position, vector of the slab) for the thread's positions. Threads behind the last whole row
  /// have none.
  template <class F>
  __device__ void for_positions(const Shape& s, F f) const {
    if (row >= rows) return;
    const int positions = static_cast<int>(s.positions);
    for (int p = row; p < positions; p += rows) f(p, p * columns + column);
  }
};

/// Starts the copy of the thread's vectors of a slab to shared memory. Each thread reads only what
/// it copied itself: after finish_copies, no barrier is needed.
template <class T, int N>
__device__ void copy_slab(Vec<T, N>* slab, const typename Channels<const T>::Column& x,
                          const Place<N>& place, const Shape& s) {
  place.for_positions(s, [&](int p, int v) {
    const T* const from = x.at + p * x.stride;
    if constexpr (sizeof(Vec<T, N>) == 16)
      ptx::cp_async_16(slab + v, from);
    else
      slab[v] = *reinterpret_cast<const Vec<T, N>*>(from);
  });
  ptx::cp_async_commit();
}

/// Sums over the block of `count` values per channel of every thread, for each run of `run`
/// neighbouring channels: a warp calls finish(r, sums) for run r with all its lanes. `partial`
/// holds count * N * blockDim.x floats. Ends with a barrier.
template <int N, int count, class F>
__device__ void sum_runs(const float (&value)[count][N], float* partial, const Place<N>& place,
                         int run, F finish) {
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int q = 0; q < count; ++q) {
#pragma unroll
    for (int i = 0; i < N; ++i) partial[(q * N + i) * threads + thread] = value[q][i];
  }
  __syncthreads();
  // Lane l adds the values l, l + 32, ... of rows x run, channel by channel.
  const int lane = thread % 32, step = 32 / place.rows, rest = 32 % place.rows;
  for (int r = thread / 32; r * run < place.width; r += threads / 32) {
    float sum[count] = {};
    int channel = lane / place.rows, row = lane % place.rows;
    while (channel < run) {
      const int c = r * run + channel;
      const float* at = partial + (c % N) * threads + row * place.columns + c / N;
#pragma unroll
      for (int q = 0; q < count; ++q) sum[q] += at[q * N * threads];
      channel += step;
      row += rest;
      if (row >= place.rows) {
        row -= place.rows;
        ++channel;
      }
    }
#pragma unroll
    for (int q = 0; q < count; ++q) sum[q] = warp_reduce(sum[q]);
    finish(r, sum);
  }
  __syncthreads();
}

}  // namespace ito::cuda::norm
