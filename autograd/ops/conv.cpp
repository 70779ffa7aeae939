#include "autograd/ops/conv.h"

#include <limits>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/packed_weights.h"
#include "tensor/check.h"
#include "tensor/kernels/conv.h"
#include "tensor/launch.h"

namespace ito {
namespace {

// Number of output rows (or columns). Throws ShapeError when the kernel does not fit.
std::int64_t output_size(const char* op, std::int64_t size, int before, int after,
                         std::int64_t kernel, int stride) {
  const std::int64_t room = size + before + after - kernel;
  if (kernel < 1 || room < 0) {
    fail<ShapeError>(
        "{}: the kernel must fit in the padded image; got kernel size {}, image size {}"
        " padded by {} and {}",
        op, kernel, size, before, after);
  }
  return room / stride + 1;
}

// The geometry of a convolution of images x_shape [N, H, W, I] with weights [O, kh, kw, I].
kernel::ConvShape conv_shape(const char* op, const Shape& x_shape, const Shape& weight_shape,
                             const Conv2dOptions& options) {
  const Padding& pad = options.padding;
  if (options.stride < 1) fail<ValueError>("{}: stride must be >= 1; got {}", op, options.stride);
  if (pad.top < 0 || pad.bottom < 0 || pad.left < 0 || pad.right < 0) {
    fail<ValueError>("{}: padding must be >= 0; got top {}, bottom {}, left {}, right {}", op,
                     pad.top, pad.bottom, pad.left, pad.right);
  }
  if (x_shape.rank() != 4 || weight_shape.rank() != 4) {
    fail<ShapeError>("{}: images are [N, H, W, I] and weights [O, kh, kw, I]; got {} and {}", op,
                     x_shape.str(), weight_shape.str());
  }
  if (x_shape[3] != weight_shape[3]) {
    fail<ShapeError>("{}: images and weight must have the same input channels; got {} and {}", op,
                     x_shape.str(), weight_shape.str());
  }
  kernel::ConvShape s{};
  s.n = x_shape[0], s.h = x_shape[1], s.w = x_shape[2], s.in = x_shape[3];
  s.out = weight_shape[0], s.kh = weight_shape[1], s.kw = weight_shape[2];
  s.p = output_size(op, s.h, pad.top, pad.bottom, s.kh, options.stride);
  s.q = output_size(op, s.w, pad.left, pad.right, s.kw, options.stride);
  s.stride = options.stride, s.top = pad.top, s.left = pad.left;
  return s;
}

void expect_dy(const char* op, const Tensor& dy, const kernel::ConvShape& s) {
  expect_shape(op, "dy", dy, {s.n, s.p, s.q, s.out});
}

// conv2d_weight_grad of concat({x, x2}).
Tensor concat_weight_grad(const Tensor& x, const Tensor& x2, const Tensor& dy, const Shape& shape,
                          const Conv2dOptions& options) {
  constexpr const char* op = "conv2d_weight_grad";
  const Shape &a = x.shape(), &b = x2.shape();
  const std::int64_t middle = a[3], end = shape[3];
  const Shape x_shape{shape[0], shape[1], shape[2], middle};
  const Shape x2_shape{shape[0], shape[1], shape[2], end - middle};
  if (x.device().is_cuda()) {
    return concat({conv2d_weight_grad(x, dy, x_shape, options),
                   conv2d_weight_grad(x2, dy, x2_shape, options)});
  }
  const auto s = conv_shape(op, {a[0], a[1], a[2], end}, shape, options);
  expect_dy(op, dy, s);
  Tensor dw = Tensor::empty(shape, x.dtype(), x.device());
  launch<kernel::Conv2dWeightGrad>(
      x.device(), {x.raw(), dy.raw(), dw.mutable_raw(), s, x.dtype(), x2.raw(), end - middle});
  return record(op, dw,
                {{x,
                  [dy, a, middle, options](const Tensor& ddw) {
                    return conv2d_input_grad(dy, slice(ddw, -1, 0, middle), a, options);
                  }},
                 {x2,
                  [dy, b, middle, end, options](const Tensor& ddw) {
                    return conv2d_input_grad(dy, slice(ddw, -1, middle, end), b, options);
                  }},
                 {dy, [x, x2, options](const Tensor& ddw) {
                    return conv2d_concat(x, x2, ddw, {}, options);
                  }}});
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
              const Conv2dOptions& options) {
  return conv2d_add(x, weight, bias, {}, options);
}

Tensor conv2d_add(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& addend,
                  const Conv2dOptions& options) {
  expect_rank("conv2d", "x", x, 4);
  expect_rank("conv2d", "weight", weight, 4);
  expect_same_kind("conv2d", {{"x", x}, {"weight", weight}, {"bias", bias}, {"addend", addend}});
  const auto s = conv_shape("conv2d", x.shape(), weight.shape(), options);
  if (bias.defined()) expect_shape("conv2d", "bias", bias, {s.out});
  const bool per_image = addend.defined() && addend.shape() == Shape{s.n, 1, 1, s.out};
  if (addend.defined() && !per_image) {
    expect_shape("conv2d", "addend", addend, {s.n, s.p, s.q, s.out});
  }
  Tensor y = Tensor::empty({s.n, s.p, s.q, s.out}, x.dtype(), x.device());
  launch<kernel::Conv2d>(x.device(),
                         {x.raw(), weight.raw(), bias.defined() ? bias.raw() : nullptr,
                          addend.defined() ? addend.raw() : nullptr, y.mutable_raw(), s, per_image,
                          x.dtype(), nullptr, 0, packed_weights_of(weight, s.n * s.p * s.q)});
  // The gradients to bias and addend are dy; the engine sums it over the axes they were repeated
  // on.
  return record(
      "conv2d", y,
      {{x, [weight, shape = x.shape(),
            options](const Tensor& dy) { return conv2d_input_grad(dy, weight, shape, options); }},
       {weight, [x, shape = weight.shape(),
                 options](const Tensor& dy) { return conv2d_weight_grad(x, dy, shape, options); }},
       {bias, [](const Tensor& dy) { return dy; }},
       {addend, [](const Tensor& dy) { return dy; }}});
}

Tensor conv2d_concat(const Tensor& x, const Tensor& x2, const Tensor& weight, const Tensor& bias,
                     const Conv2dOptions& options) {
  constexpr const char* op = "conv2d_concat";
  expect_rank(op, "x", x, 4);
  expect_rank(op, "x2", x2, 4);
  expect_rank(op, "weight", weight, 4);
  expect_same_kind(op, {{"x", x}, {"x2", x2}, {"weight", weight}, {"bias", bias}});
  const Shape &a = x.shape(), &b = x2.shape();
  expect_shape(op, "x2", x2, {a[0], a[1], a[2], b[3]});
  const auto s = conv_shape(op, {a[0], a[1], a[2], a[3] + b[3]}, weight.shape(), options);
  if (bias.defined()) expect_shape(op, "bias", bias, {s.out});
  Tensor y = Tensor::empty({s.n, s.p, s.q, s.out}, x.dtype(), x.device());
  launch<kernel::Conv2d>(x.device(), {x.raw(), weight.raw(), bias.defined() ? bias.raw() : nullptr,
                                      nullptr, y.mutable_raw(), s, false, x.dtype(), x2.raw(), b[3],
                                      packed_weights_of(weight, s.n * s.p * s.q)});
  const std::int64_t middle = a[3], end = s.in;
  return record(
      op, y,
      {{x,
        [weight, a, middle, options](const Tensor& dy) {
          return conv2d_input_grad(dy, slice(weight, -1, 0, middle), a, options);
        }},
       {x2,
        [weight, b, middle, end, options](const Tensor& dy) {
          return conv2d_input_grad(dy, slice(weight, -1, middle, end), b, options);
        }},
       {weight, [x, x2, shape = weight.shape(), options](
                    const Tensor& dy) { return concat_weight_grad(x, x2, dy, shape, options); }},
       {bias, [](const Tensor& dy) { return dy; }}});
}

Tensor conv2d_input_grad(const Tensor& dy, const Tensor& weight, const Shape& x_shape,
                         const Conv2dOptions& options, const Tensor& bias) {
  constexpr const char* op = "conv2d_input_grad";
  expect_rank(op, "dy", dy, 4);
  expect_rank(op, "weight", weight, 4);
  expect_same_kind(op, {{"dy", dy}, {"weight", weight}, {"bias", bias}});
  const auto s = conv_shape(op, x_shape, weight.shape(), options);
  expect_dy(op, dy, s);
  if (bias.defined()) expect_shape(op, "bias", bias, {s.in});
  Tensor dx = Tensor::empty(x_shape, dy.dtype(), dy.device());
  launch<kernel::Conv2dInputGrad>(dy.device(), {dy.raw(), weight.raw(), dx.mutable_raw(), s,
                                                dy.dtype(), bias.defined() ? bias.raw() : nullptr,
                                                packed_weights_of(weight, s.n * s.p * s.q)});
  return record(
      op, dx,
      {{dy, [weight, options](const Tensor& ddx) { return conv2d(ddx, weight, {}, options); }},
       {weight, [dy, shape = weight.shape(), options](
                    const Tensor& ddx) { return conv2d_weight_grad(ddx, dy, shape, options); }},
       {bias, [](const Tensor& ddx) { return ddx; }}});
}

Tensor conv2d_weight_grad(const Tensor& x, const Tensor& dy, const Shape& weight_shape,
                          const Conv2dOptions& options) {
  constexpr const char* op = "conv2d_weight_grad";
  expect_rank(op, "x", x, 4);
  expect_rank(op, "dy", dy, 4);
  expect_same_kind(op, {{"x", x}, {"dy", dy}});
  const auto s = conv_shape(op, x.shape(), weight_shape, options);
  expect_dy(op, dy, s);
  Tensor dw = Tensor::empty(weight_shape, x.dtype(), x.device());
  launch<kernel::Conv2dWeightGrad>(x.device(), {x.raw(), dy.raw(), dw.mutable_raw(), s, x.dtype()});
  return record(op, dw,
                {{x, [dy, shape = x.shape(), options](
                         const Tensor& ddw) { return conv2d_input_grad(dy, ddw, shape, options); }},
                 {dy, [x, options](const Tensor& ddw) { return conv2d(x, ddw, {}, options); }}});
}

}  // namespace ito
