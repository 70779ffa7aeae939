// Where the elements of group norm's arrays lie, and the arithmetic that all rungs share. For
// kernels of cuda/norm*.cu.
#pragma once

#include "cuda/element.h"
#include "cuda/reduce.h"
#include "tensor/kernels/index.h"
#include "tensor/kernels/norm.h"

namespace ito::cuda::norm {

using kernel::Index;
using Shape = kernel::GroupNormShape;

/// [n, positions, channels] in one or two arrays: `a` has the first channels, `b` the last
/// `x2_channels`.
template <class T>
struct Channels {
  T* a;
  T* b = nullptr;
  Index x2_channels = 0;

  /// The positions of one channel: element p is at[p * stride].
  struct Column {
    T* at;
    Index stride;
  };
  __device__ Column column(const Shape& s, Index image, Index channel) const {
    const Index first = s.channels - x2_channels;
    if (channel < first) return {a + image * s.positions * first + channel, first};
    return {b + image * s.positions * x2_channels + channel - first, x2_channels};
  }
};

/// 1 / (1 + exp(-z)). For bf16 by the hardware's approximations: two instructions where exact
/// functions take twenty, and their error of 2^-21 is far below bf16's 2^-9.
template <class T>
__device__ float sigmoid(float z) {
  if constexpr (sizeof(T) == 2)
    return __fdividef(1.0f, 1.0f + __expf(-z));
  else
    return 1.0f / (1.0f + expf(-z));
}

/// d silu(z) / dz
template <class T>
__device__ float silu_slope(float z) {
  const float sigma = sigmoid<T>(z);
  return sigma * (1.0f + z * (1.0f - sigma));
}

}  // namespace ito::cuda::norm
