// Sums and maxima over a warp and over a block, in a fixed order.
#pragma once

#include "cuda/launch.h"

namespace ito::cuda {

inline constexpr unsigned full_warp = 0xffffffffu;

struct Plus {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
/// NaN wins.
struct Larger {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a != a ? a : (b > a || b != b) ? b : a;
  }
};

/// The 32 values of a warp combined; every lane gets the result. All lanes must call it.
template <class T, class F = Plus>
__device__ T warp_reduce(T value, F f = {}) {
  for (int offset = 16; offset > 0; offset /= 2) {
    value = f(value, __shfl_xor_sync(full_warp, value, offset));
  }
  return value;
}

/// The values of all threads of a one-dimensional block combined; every thread gets the result.
/// blockDim.x must be a multiple of 32. `scratch` holds one value per warp, in shared memory, and
/// may be used again only behind a barrier.
template <class T, class F = Plus>
__device__ T block_reduce(T value, T* scratch, F f = {}) {
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int warps = static_cast<int>(blockDim.x / 32);
  value = warp_reduce(value, f);
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  T result = scratch[0];
  for (int w = 1; w < warps; ++w) result = f(result, scratch[w]);
  return result;
}

}  // namespace ito::cuda
