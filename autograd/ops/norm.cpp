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

Tensor normalize(const char* op, const Tensor& x, int groups, const Tensor& weight,
                 const Tensor& bias, double eps, bool with_silu) {
  expect_defined(op, "x", x);
  expect_defined(op, "weight", weight);
  expect_defined(op, "bias", bias);
  expect_same_kind(op, {{"x", x}, {"weight", weight}, {"bias", bias}});
  if (x.rank() < 2) fail<ShapeError>("{}: x must be [N, ..., C]; got {}", op, describe({{"x", x}}));
  const std::int64_t n = x.size(0), c = x.size(-1);
  expect_shape(op, "weight", weight, {c});
  expect_shape(op, "bias", bias, {c});
  if (groups < 1 || c % groups != 0) {
    fail<ShapeError>("{}: groups must divide channels; got {}, groups = {}", op,
                     describe({{"x", x}}), groups);
  }
  if (!(eps >= 0.0)) fail<ValueError>("{}: eps must be >= 0; got {}", op, eps);
  const kernel::GroupNormShape shape{n, n * c == 0 ? 0 : x.numel() / (n * c), c, groups};
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  Tensor statistics = Tensor::empty({n, groups, 2}, statistics_of(x.dtype()), x.device());
  launch<kernel::GroupNorm>(
      x.device(), {x.raw(), weight.raw(), bias.raw(), y.mutable_raw(), statistics.mutable_raw(),
                   shape, eps, with_silu, x.dtype()});
  return record_fused(
      op, y, {x, weight, bias},
      [=](const std::vector<Tensor>& in) {
        return reference(in[0], groups, in[1], in[2], eps, with_silu);
      },
      [=](const Tensor& dy, const std::vector<bool>&) {
        Tensor dx = Tensor::empty(x.shape(), x.dtype(), x.device());
        Tensor dweight = Tensor::empty({c}, x.dtype(), x.device());
        Tensor dbias = Tensor::empty({c}, x.dtype(), x.device());
        Tensor partial = Tensor::empty({n, 2, c}, statistics_of(x.dtype()), x.device());
        launch<kernel::GroupNormGrad>(
            x.device(), {x.raw(), dy.raw(), weight.raw(), bias.raw(), statistics.raw(),
                         dx.mutable_raw(), dweight.mutable_raw(), dbias.mutable_raw(),
                         partial.mutable_raw(), shape, with_silu, x.dtype()});
        return std::vector<Tensor>{dx, dweight, dbias};
      });
}

}  // namespace

Tensor group_norm(const Tensor& x, int groups, const Tensor& weight, const Tensor& bias,
                  double eps) {
  return normalize("group_norm", x, groups, weight, bias, eps, false);
}

Tensor group_norm_silu(const Tensor& x, int groups, const Tensor& weight, const Tensor& bias,
                       double eps) {
  return normalize("group_norm_silu", x, groups, weight, bias, eps, true);
}

}  // namespace ito
