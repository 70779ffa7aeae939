// The inner loop of convolutions, linear layers and attention: a tile of sums held in registers.
//
// Terms of the CPU kernels:
//   vector     simd::lanes<T> numbers in one register
//   tile       M rows of NV vectors of the result, sums[m][v], held in registers
//   block      the output channels (columns of the result) of a tile: block_width<T>, two vectors
//   pack       copy an operand into the order in which the inner loop reads it (pack.h)
//   partition  how the result is split among tasks; a function of the sizes only, so that the bits
//              do not depend on the number of threads
//   chunk      a part of a long sum, of images or pixels; chunks are added in order
//   slab       rows or tiles of the images that one task takes together, to stay in the cache
//   room       the channels that a block has space for, of which `valid` are used
//
// One step k adds the outer product of M numbers of x and NV vectors of w to a tile:
//
//   sums[m][v] += x[m, k] * w[k][v]
//
// A step costs M NV multiply-adds and only M + NV loads, so the multipliers are the limit once M NV
// covers their latency. With 32 registers M = 14, NV = 2 keeps 28 sums; with 16 registers M = 6, NV
// = 2 keeps 12.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "tensor/kernels/index.h"
#include "tensor/kernels/simd.h"
#include "tensor/math.h"

namespace ito::kernel {

inline constexpr int max_tile = simd::registers == 32 ? 14 : 6;

/// `count` elements, rounded up to whole vectors.
template <class T>
Index whole_vectors(Index count) {
  return round_up(count, simd::lanes<T>);
}

/// Channels in a full block of packed weights: two vectors.
template <class T>
inline constexpr Index block_width = 2 * simd::lanes<T>;

/// sums[m][v] += x[row m, k] w[k][v] for k < count, where w is [count][NV vectors]. The tile's rows
/// are neighbours in x: row m at step k is x[m + k k_step].
template <class T, int M, int NV>
ITO_INLINE void multiply_add_dense(simd::vector_of<T> (&sums)[M][NV], const T* x, Index k_step,
                                   const T* w, Index count) {
  using V = simd::vector_of<T>;
  for (Index k = 0; k < count; ++k, x += k_step, w += NV * simd::lanes<T>) {
    V weights[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) simd::load(weights[v], w + v * simd::lanes<T>);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const V value = x[m] - V{};  // the number in every lane
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sums[m][v] += value * weights[v];
    }
  }
}

/// The same where the rows stand in G groups of M: row m at step k is
/// x[(m / M) g_step + (m % M) m_step + k].
template <class T, int G, int M, int NV>
ITO_INLINE void multiply_add(simd::vector_of<T> (&sums)[G * M][NV], const T* x, Index g_step,
                             Index m_step, const T* w, Index count) {
  using V = simd::vector_of<T>;
  // One pointer serves three rows, through the addressing modes base + step and base + 2 step: a
  // pointer per row would not fit the registers. The empty asm keeps the compiler from undoing it.
  constexpr int per_group = (M + 2) / 3;
  const T* row[G * per_group];
#pragma GCC unroll 16
  for (int i = 0; i < G * per_group; ++i) {
    row[i] = x + (i / per_group) * g_step + 3 * (i % per_group) * m_step;
    asm("" : "+r"(row[i]));
  }
  for (Index k = 0; k < count; ++k, w += NV * simd::lanes<T>) {
    V weights[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) simd::load(weights[v], w + v * simd::lanes<T>);
#pragma GCC unroll 16
    for (int m = 0; m < G * M; ++m) {
      const int in_group = m % M;
      const V value = row[m / M * per_group + in_group / 3][in_group % 3 * m_step] - V{};
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sums[m][v] += value * weights[v];
    }
#pragma GCC unroll 16
    for (int i = 0; i < G * per_group; ++i) ++row[i];
  }
}

/// The function entry.operator()<size>() for a size of 1 .. max_size that is known at run time
/// only; the entry is a lambda without captures.
template <int max_size, class Entry>
auto choose(Index size, Entry) {
  static constexpr auto table = []<int... i>(std::integer_sequence<int, i...>) {
    return std::array{Entry{}.template operator()<i + 1>()...};
  }
  (std::make_integer_sequence<int, max_size>{});
  return table[static_cast<std::size_t>(size - 1)];
}

/// Cuts `length` into the fewest pieces of at most max_tile, as equal as possible, and calls
/// f(first, size) for each.
template <class F>
ITO_INLINE void for_tiles(Index length, F f) {
  const Index pieces = ceil_div(length, max_tile);
  for (Index i = 0, first = 0; i < pieces; ++i) {
    const Index size = length / pieces + (i < length % pieces ? 1 : 0);
    f(first, size);
    first += size;
  }
}

}  // namespace ito::kernel
