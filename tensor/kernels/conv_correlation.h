// What the forward pass of a convolution and the gradient to its input have in common.
#pragma once

#include "tensor/kernels/conv_pack.h"
#include "tensor/kernels/weight_forms.h"

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
  const T* x2 = nullptr;  // the last `second` of the channels, when x has only the others
  Index second = 0;
  WeightForms* forms = nullptr;  // where packed weights are kept, or null

  Image<T> image(Index i) const {
    const Index pixels = i * h * w, first = in - second;
    return {x + pixels * first, second > 0 ? x2 + pixels * second : nullptr, h, w, first, second};
  }
};

}  // namespace ito::kernel
