#include "autograd/ops/norm.h"

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"
#include "tensor/kernels/norm.h"
#include "tensor/launch.h"

namespace ito {
namespace {

// The definition, in plain ops.
Tensor reference(const Tensor& x, int groups, const Tensor& weight, const Tensor& bias, double eps,
                 bool with_silu) {
  const std::int64_t n = x.size(0), c = x.size(-1), width = c / groups;
  const std::int64_t positions = n * c == 0 ? 0 : x.numel() / (n * c);
  const double m = static_cast<double>(positions * width);
  const Tensor grouped = reshape(x, Shape{n, positions, groups, width});
  const Tensor centred = grouped - sum(grouped, {1, 3}, /*keep_dims=*/true) / m;
  const Tensor variance = sum(square(centred), {1, 3}, /*keep_dims=*/true) / m;
  const Tensor z = reshape(centred * rsqrt(variance + eps), x.shape()) * weight + bias;
  return with_silu ? z * sigmoid(z) : z;
}

// x2: undefined, or the channels behind x's.
kernel::GroupNormShape check(const char* op, const Tensor& x, const Tensor& x2, int groups,
                             const Tensor& weight, const Tensor& bias, double eps) {
  expect_defined(op, "x", x);
  expect_defined(op, "weight", weight);
  expect_defined(op, "bias", bias);
  expect_same_kind(op, {{"x", x}, {"x2", x2}, {"weight", weight}, {"bias", bias}});
  if (x.rank() < 2) fail<ShapeError>("{}: x must be [N, ..., C]; got {}", op, describe({{"x", x}}));
  if (x2.defined()) {
    expect_rank(op, "x2", x2, x.rank());
    expect_shape(op, "x2", x2, x.shape().with(-1, x2.size(-1)));
  }
  const std::int64_t n = x.size(0), x2_channels = x2.defined() ? x2.size(-1) : 0,
                     c = x.size(-1) + x2_channels;
  expect_shape(op, "weight", weight, {c});
  expect_shape(op, "bias", bias, {c});
  if (groups < 1 || c % groups != 0) {
    fail<ShapeError>("{}: groups must divide channels; got {}, groups = {}", op,
                     x2.defined() ? describe({{"x", x}, {"x2", x2}}) : describe({{"x", x}}),
                     groups);
  }
  if (!(eps >= 0.0)) fail<ValueError>("{}: eps must be >= 0; got {}", op, eps);
  const std::int64_t rows = n * x.size(-1) == 0 ? 0 : x.numel() / (n * x.size(-1));
  return {n, rows, c, groups, x2_channels};
}

// Gradients of x, (x2,) weight and bias.
std::vector<Tensor> gradients(const Tensor& x, const Tensor& x2, const Tensor& weight,
                              const Tensor& bias, const Tensor& statistics, const Tensor& dy,
                              const kernel::GroupNormShape& shape, bool with_silu) {
  Tensor dx = empty_like(x), dx2 = x2.defined() ? empty_like(x2) : Tensor{},
         dweight = empty_like(weight), dbias = empty_like(bias);
  Tensor partial = Tensor::empty({shape.n, 2, shape.channels}, statistics.dtype(), x.device());
  launch<kernel::GroupNormGrad>(
      x.device(),
      {x.raw(), dy.raw(), weight.raw(), bias.raw(), statistics.raw(), dx.mutable_raw(),
       dweight.mutable_raw(), dbias.mutable_raw(), partial.mutable_raw(), shape, with_silu,
       x.dtype(), x2.defined() ? x2.raw() : nullptr, x2.defined() ? dx2.mutable_raw() : nullptr});
  if (x2.defined()) return {dx, dx2, dweight, dbias};
  return {dx, dweight, dbias};
}

Tensor normalize(const char* op, const Tensor& x, const Tensor& x2, int groups,
                 const Tensor& weight, const Tensor& bias, double eps, bool with_silu) {
  const auto shape = check(op, x, x2, groups, weight, bias, eps);
  Tensor y = Tensor::empty(x.shape().with(-1, shape.channels), x.dtype(), x.device());
  Tensor statistics = Tensor::empty({shape.n, groups, 2}, statistics_of(x.dtype()), x.device());
  launch<kernel::GroupNorm>(
      x.device(), {x.raw(), weight.raw(), bias.raw(), y.mutable_raw(), statistics.mutable_raw(),
                   shape, eps, with_silu, x.dtype(), x2.defined() ? x2.raw() : nullptr});
  const auto pullback = [=](const Tensor& dy, const std::vector<bool>&) {
    return gradients(x, x2, weight, bias, statistics, dy, shape, with_silu);
  };
  if (x2.defined()) {
    return record_fused(
        op, y, {x, x2, weight, bias},
        [=](const std::vector<Tensor>& in) {
          return reference(concat({in[0], in[1]}), groups, in[2], in[3], eps, with_silu);
        },
        pullback);
  }
  return record_fused(
      op, y, {x, weight, bias},
      [=](const std::vector<Tensor>& in) {
        return reference(in[0], groups, in[1], in[2], eps, with_silu);
      },
      pullback);
}

}  // namespace

Tensor group_norm(const Tensor& x, int groups, const Tensor& weight, const Tensor& bias,
                  double eps) {
  return normalize("group_norm", x, {}, groups, weight, bias, eps, false);
}

Tensor group_norm_silu(const Tensor& x, int groups, const Tensor& weight, const Tensor& bias,
                       double eps) {
  return normalize("group_norm_silu", x, {}, groups, weight, bias, eps, true);
}

Tensor group_norm_silu_concat(const Tensor& x, const Tensor& x2, int groups, const Tensor& weight,
                              const Tensor& bias, double eps) {
  constexpr const char* op = "group_norm_silu_concat";
  expect_defined(op, "x2", x2);
  return normalize(op, x, x2, groups, weight, bias, eps, true);
}

}  // namespace ito
