// Where the rows of attention's arrays lie. For kernels of cuda/attention*.cu.
#pragma once

#include "cuda/element.h"
#include "cuda/reduce.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/index.h"

namespace ito::cuda::attention {

using kernel::Index;
using Shape = kernel::AttentionShape;

inline constexpr float log2_e = 1.4426950408889634f;
inline constexpr float minus_infinity = -__builtin_huge_valf();

/// Row 0 of a head in an array [n, length, heads d], rows heads * d apart; nh = n heads + h.
template <class T>
__device__ T* head(T* array, const Shape& a, Index length, Index nh) {
  return array + (nh / a.heads) * length * a.heads * a.d + (nh % a.heads) * a.d;
}

/// The mask's row of one query, null without a mask.
template <class T>
__device__ const T* mask_row(const T* mask, const Shape& a, Index nh, Index query) {
  if (mask == nullptr) return nullptr;
  return mask + ((a.mask_per_sample ? (nh / a.heads) * a.l : 0) + query) * a.s;
}

/// What of a score is subtracted before exp: scores of -inf alone must give 0, not NaN.
__device__ inline float finite_shift(float top) { return top == minus_infinity ? 0.0f : top; }

}  // namespace ito::cuda::attention
