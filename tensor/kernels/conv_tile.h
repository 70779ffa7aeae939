// The inner loop of convolution: a tile of sums that lives in registers.
//
// A tile is M rows of NV vectors, `sums[m][v]`. One step k adds the outer product of M numbers of x
// and NV vectors of w:
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

#include "tensor/kernels/simd.h"

namespace ito::kernel {

using Index = std::int64_t;

inline constexpr int max_tile = simd::registers == 32 ? 14 : 6;

/// Channels in a full block of packed weights: two vectors.
template <class T>
inline constexpr Index block_width = 2 * simd::lanes<T>;

/// sums[m][v] += x[m m_step + k k_step] w[k][v] for k < count; w is [count][NV vectors]. The tile's
/// rows stand in G groups of M that lie g_step apart.
template <class T, int G, int M, int NV>
ITO_INLINE void multiply_add(simd::vector_of<T> (&sums)[G * M][NV], const T* x, Index g_step,
                             Index m_step, Index k_step, const T* w, Index count) {
  using V = simd::vector_of<T>;
  for (Index k = 0; k < count; ++k) {
    V weights[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) simd::load(weights[v], w + v * simd::lanes<T>);
#pragma GCC unroll 16
    for (int m = 0; m < G * M; ++m) {
      const V value = V{} + x[(m / M) * g_step + (m % M) * m_step + k * k_step];
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sums[m][v] += value * weights[v];
    }
    w += NV * simd::lanes<T>;
  }
}

/// Cuts `length` into the fewest pieces of at most max_tile, as equal as possible, and calls
/// f(first, size) for each.
template <class F>
ITO_INLINE void for_tiles(Index length, F f) {
  const Index pieces = (length + max_tile - 1) / max_tile;
  for (Index i = 0, first = 0; i < pieces; ++i) {
    const Index size = length / pieces + (i < length % pieces ? 1 : 0);
    f(first, size);
    first += size;
  }
}

}  // namespace ito::kernel
