// What the forward pass of a convolution and the gradient to its input have in common.
#pragma once

#include "tensor/kernels/pack.h"
#include "tensor/kernels/packed_weights.h"

namespace ito::kernel {

/// y[n, p, q, o] = bias[o] + addend + sum over r, s, i of
///                 x[n, p stride + r - top, q stride + s - left, i] weight(o, r, s, i)
/// where x is [n, h, w, in], zero outside, and y is addressed by its own steps.
template <class T>
struct Correlation {
  const T* x;
  Index n, h, w, in;
  Index kh, kw, stride, top, left;
  const T* weight;
  WeightOrder order;
  T* y;
  Index p, q, out;
  Index image_step, row_step, pixel_step;  // of y
  const T* bias = nullptr;
  const T* addend = nullptr;
  bool addend_per_image = false;
  const T* x2 = nullptr;  // the last `x2_channels` of the channels, when x has only the others
  Index x2_channels = 0;
  PackedWeights* packed = nullptr;  // where packed weights are kept, or null

  Image<T> image(Index i) const {
    const Index pixels = i * h * w, first = in - x2_channels;
    return {x + pixels * first, x2_channels > 0 ? x2 + pixels * x2_channels : nullptr, h, w, first,
            x2_channels};
  }
};

}  // namespace ito::kernel
