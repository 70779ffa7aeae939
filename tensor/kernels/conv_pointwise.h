// 1x1 convolutions at stride 1 without a border: no pixel sees another, so the images are one tall
// matrix [n h w, in] and all three passes are plain products (gemm.h). Where x comes in two arrays
// the second product is added to the first while y is in the cache.
//
// They cost in out multiply-adds per pixel, and in + out numbers to move: with up to 64 channels
// that is memory's time as much as the multipliers'.
#pragma once

#include "tensor/kernels/conv.h"
#include "tensor/kernels/conv_correlation.h"

namespace ito::kernel {

inline bool is_pointwise(const ConvShape& s) {
  return s.kh * s.kw == 1 && s.stride == 1 && s.p == s.h && s.q == s.w && s.top == 0 && s.left == 0;
}

/// The forward pass or the gradient to the input; y is dense and there is no addend per image.
template <class T>
void correlate_pixels(const Correlation<T>& c);

/// The gradient to the weight, of f32 or f64.
void conv2d_weight_grad_pixels(const Conv2dWeightGrad::Args& args);

}  // namespace ito::kernel
