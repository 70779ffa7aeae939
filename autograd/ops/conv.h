// Two-dimensional convolution (cross-correlation, as in every deep-learning library) on NHWC
// images.
//
//   const Tensor weight = Tensor::zeros({64, 3, 3, 3});      // [O, kh, kw, I]
//   const Tensor y = conv2d(x, weight, {}, {.stride = 2, .padding = 1});
//   // x [N, 32, 32, 3], y [N, 16, 16, 64]
//
// conv2d and its two gradients are a closed family: each one's gradients are the other two, so all
// differentiate any number of times.
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// Rows and columns of zeros around the image: none, as many on all sides, or each side by itself.
struct Padding {
  int top = 0, bottom = 0, left = 0, right = 0;

  constexpr Padding() = default;
  constexpr Padding(int all) : Padding(all, all, all, all) {}
  constexpr Padding(int above, int below, int before, int after)
      : top(above), bottom(below), left(before), right(after) {}
  static constexpr Padding below_and_right(int n) { return {0, n, 0, n}; }
  friend bool operator==(const Padding&, const Padding&) = default;
};

struct Conv2dOptions {
  int stride = 1;
  Padding padding = {};
};

/// y[n, p, q, o] = bias[o] + sum over r, s, i of
///                 x[n, p stride + r - top, q stride + s - left, i] weight[o, r, s, i]
///   x [N, H, W, I], weight [O, kh, kw, I], bias [O] or undefined
///   returns [N, P, Q, O], P = (H + top + bottom - kh) / stride + 1 rounded down, Q likewise.
/// Throws ShapeError: channels differ, kernel larger than the padded image; ValueError: stride < 1,
/// negative padding.
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv2dOptions& options = {});

/// conv2d(x, weight, bias) + addend, the sum taken while the result is still in registers.
///   addend [N, P, Q, O] (a residual branch) or [N, 1, 1, O] (one value per image and channel, as a
///   time embedding), or undefined. Otherwise as conv2d.
Tensor conv2d_add(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& addend,
                  const Conv2dOptions& options = {});

/// conv2d(concat({x, x2}), weight, bias, options). The concatenation is never written: the kernel
/// reads from two images.
///   x [N, H, W, A], x2 [N, H, W, B], weight [O, kh, kw, A + B]. Otherwise as conv2d.
Tensor conv2d_concat(const Tensor& x, const Tensor& x2, const Tensor& weight,
                     const Tensor& bias = {}, const Conv2dOptions& options = {});

/// Gradient of conv2d with respect to x, as a function of dy [N, P, Q, O] and weight.
///   x_shape [N, H, W, I]; returns that shape. With bias [I], which is added to every pixel, it is
///   a transposed convolution.
Tensor conv2d_input_grad(const Tensor& dy, const Tensor& weight, const Shape& x_shape,
                         const Conv2dOptions& options = {}, const Tensor& bias = {});

/// Gradient of conv2d with respect to the weight, as a function of x and dy.
///   weight_shape [O, kh, kw, I]; returns that shape.
Tensor conv2d_weight_grad(const Tensor& x, const Tensor& dy, const Shape& weight_shape,
                          const Conv2dOptions& options = {});

}  // namespace ito
