#include "autograd/ops/conv_upsample.h"

#include <algorithm>

#include "autograd/engine.h"
#include "autograd/packed_weights.h"
#include "tensor/check.h"
#include "tensor/kernels/conv_upsample.h"
#include "tensor/launch.h"

namespace ito {
namespace {

void expect_factor(const char* op, int factor) {
  if (factor < 1) fail<ValueError>("{}: factor must be >= 1; got {}", op, factor);
}

// Factor 2, 3x3, one zero around. As with conv2d, each of the three is a gradient of the others.
Tensor upsample2x_conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias);
Tensor upsample2x_conv2d_input_grad(const Tensor& dy, const Tensor& weight);
Tensor upsample2x_conv2d_weight_grad(const Tensor& x, const Tensor& dy);

Tensor upsample2x_conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Shape& s = x.shape();
  Tensor y = Tensor::empty({s[0], 2 * s[1], 2 * s[2], weight.size(0)}, x.dtype(), x.device());
  launch<kernel::UpsampleConv2d>(x.device(), {x.raw(),
                                              weight.raw(),
                                              bias.defined() ? bias.raw() : nullptr,
                                              y.mutable_raw(),
                                              {s[0], s[1], s[2], s[3], weight.size(0)},
                                              x.dtype(),
                                              packed_weights_of(weight, s[0] * s[1] * s[2])});
  return record(
      "upsample_conv2d", y,
      {{x, [weight](const Tensor& dy) { return upsample2x_conv2d_input_grad(dy, weight); }},
       {weight, [x](const Tensor& dy) { return upsample2x_conv2d_weight_grad(x, dy); }},
       {bias, [](const Tensor& dy) { return dy; }}});
}

Tensor upsample2x_conv2d_input_grad(const Tensor& dy, const Tensor& weight) {
  const Shape& s = dy.shape();
  const Shape shape{s[0], s[1] / 2, s[2] / 2, weight.size(3)};
  Tensor dx = Tensor::empty(shape, dy.dtype(), dy.device());
  launch<kernel::UpsampleConv2dInputGrad>(dy.device(),
                                          {dy.raw(),
                                           weight.raw(),
                                           dx.mutable_raw(),
                                           {shape[0], shape[1], shape[2], shape[3], s[3]},
                                           dy.dtype()});
  return record(
      "upsample_conv2d_input_grad", dx,
      {{dy, [weight](const Tensor& ddx) { return upsample2x_conv2d(ddx, weight, {}); }},
       {weight, [dy](const Tensor& ddx) { return upsample2x_conv2d_weight_grad(ddx, dy); }}});
}

Tensor upsample2x_conv2d_weight_grad(const Tensor& x, const Tensor& dy) {
  const Shape& s = x.shape();
  Tensor dw = Tensor::empty({dy.size(3), 3, 3, s[3]}, x.dtype(), x.device());
  launch<kernel::UpsampleConv2dWeightGrad>(
      x.device(),
      {x.raw(), dy.raw(), dw.mutable_raw(), {s[0], s[1], s[2], s[3], dy.size(3)}, x.dtype()});
  return record("upsample_conv2d_weight_grad", dw,
                {{x, [dy](const Tensor& ddw) { return upsample2x_conv2d_input_grad(dy, ddw); }},
                 {dy, [x](const Tensor& ddw) { return upsample2x_conv2d(x, ddw, {}); }}});
}

}  // namespace

Tensor fold_upsampling(const Tensor& weight, int factor) {
  constexpr const char* op = "fold_upsampling";
  expect_floating(op, "weight", weight);
  expect_rank(op, "weight", weight, 4);
  expect_factor(op, factor);
  const Shape& s = weight.shape();
  Tensor folded = Tensor::empty({s[3], s[1] + factor - 1, s[2] + factor - 1, s[0]}, weight.dtype(),
                                weight.device());
  launch<kernel::FoldUpsampling>(
      weight.device(),
      {weight.raw(), folded.mutable_raw(), {s[0], s[1], s[2], s[3], factor}, weight.dtype()});
  return record(op, folded, {{weight, [factor](const Tensor& dfolded) {
                                return fold_upsampling_grad(dfolded, factor);
                              }}});
}

Tensor fold_upsampling_grad(const Tensor& dfolded, int factor) {
  constexpr const char* op = "fold_upsampling_grad";
  expect_floating(op, "dfolded", dfolded);
  expect_rank(op, "dfolded", dfolded, 4);
  expect_factor(op, factor);
  const Shape& s = dfolded.shape();
  if (s[1] < factor || s[2] < factor) {
    fail<ShapeError>(
        "{}: folded kernels have at least factor rows and columns; got {}, factor = {}", op,
        s.str(), factor);
  }
  const Shape shape{s[3], s[1] - factor + 1, s[2] - factor + 1, s[0]};
  Tensor dweight = Tensor::empty(shape, dfolded.dtype(), dfolded.device());
  launch<kernel::FoldUpsamplingGrad>(dfolded.device(),
                                     {dfolded.raw(),
                                      dweight.mutable_raw(),
                                      {shape[0], shape[1], shape[2], shape[3], factor},
                                      dfolded.dtype()});
  return record(
      op, dweight,
      {{dfolded, [factor](const Tensor& ddweight) { return fold_upsampling(ddweight, factor); }}});
}

Tensor upsample_conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, int factor,
                       const Padding& padding) {
  constexpr const char* op = "upsample_conv2d";
  expect_rank(op, "x", x, 4);
  expect_rank(op, "weight", weight, 4);
  expect_same_kind(op, {{"x", x}, {"weight", weight}, {"bias", bias}});
  expect_factor(op, factor);
  const Shape &s = x.shape(), &k = weight.shape();
  if (s[3] != k[3]) {
    fail<ShapeError>("{}: images and weight must have the same input channels; got {} and {}", op,
                     s.str(), k.str());
  }
  const std::int64_t rows = factor * s[1] + padding.top + padding.bottom - k[1] + 1;
  const std::int64_t columns = factor * s[2] + padding.left + padding.right - k[2] + 1;
  if (std::min(k[1], k[2]) < 1 || rows < 1 || columns < 1) {
    fail<ShapeError>("{}: the kernel must fit in the padded, upsampled image; got {} and {}", op,
                     s.str(), k.str());
  }
  const int kh = static_cast<int>(k[1]), kw = static_cast<int>(k[2]);
  const auto fits = [](int pad, int size) { return pad >= 0 && pad < size; };
  if (!fits(padding.top, kh) || !fits(padding.bottom, kh) || !fits(padding.left, kw) ||
      !fits(padding.right, kw)) {
    fail<ValueError>(
        "{}: padding must be >= 0 and smaller than the kernel; got top {}, bottom {}, left {}, "
        "right {}",
        op, padding.top, padding.bottom, padding.left, padding.right);
  }
  if (bias.defined()) expect_shape(op, "bias", bias, {k[0]});
  if (x.device().is_cpu() && factor == 2 && kh == 3 && kw == 3 && padding == Padding(1)) {
    return upsample2x_conv2d(x, weight, bias);
  }
  const Padding turned(kh - 1 - padding.top, kh - 1 - padding.bottom, kw - 1 - padding.left,
                       kw - 1 - padding.right);
  return conv2d_input_grad(x, fold_upsampling(weight, factor), {s[0], rows, columns, k[0]},
                           {.stride = factor, .padding = turned}, bias);
}

}  // namespace ito
