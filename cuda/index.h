// Index spaces of several axes: from a flat number to the offsets of its element, without division
// instructions, and vectors with a scalar tail.
#pragma once

#include <cstdint>

#include "cuda/element.h"
#include "cuda/fast_divmod.h"
#include "cuda/launch.h"

namespace ito::cuda {

/// `inputs` arrays read over one index space of `rank` axes: element i of the space is element
/// sum of k_d step[j][d] of array j, where k are the coordinates of i in row-major order.
template <int inputs, int max_rank>
struct IndexSpace {
  int rank = 1;
  FastDivmod size[max_rank];
  std::int64_t step[inputs][max_rank] = {};

  __device__ void offsets(std::int64_t i, std::int64_t (&at)[inputs]) const {
    for (int j = 0; j < inputs; ++j) at[j] = 0;
    for (int d = rank - 1; d > 0; --d) {
      const std::int64_t next = size[d].quotient(i), k = i - next * size[d].divisor;
      for (int j = 0; j < inputs; ++j) at[j] += k * step[j][d];
      i = next;
    }
    for (int j = 0; j < inputs; ++j) at[j] += i * step[j][0];
  }
};

/// Elements of T in 16 bytes.
template <class T>
inline constexpr int in_16_bytes = 16 / static_cast<int>(sizeof(T));

template <int V, class T>
__device__ Vec<T, V> load(const T* p) {
  return *reinterpret_cast<const Vec<T, V>*>(p);
}
template <int V, class T>
__device__ void store(T* p, const Vec<T, V>& v) {
  *reinterpret_cast<Vec<T, V>*>(p) = v;
}

/// Whether every one of the pointers starts a vector of 16 bytes.
template <class... P>
bool all_aligned(const P*... p) {
  return ((reinterpret_cast<std::uintptr_t>(p) % 16 == 0) && ...);
}

}  // namespace ito::cuda
