#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"
#include "autograd/ops/rms_norm.h"
#include "tensor/check.h"
#include "tensor/kernels/rms_norm.h"
#include "tensor/launch.h"

namespace ito {
namespace {

void check(const Tensor& x, const Tensor& weight) {
  expect_floating("rms_norm", "x", x);
  expect_defined("rms_norm", "weight", weight);
  expect_same_kind("rms_norm", {{"x", x}, {"weight", weight}});
  if (x.rank() == 0 || x.size(-1) == 0) {
    fail<ShapeError>("rms_norm: x must have channels; got {}", describe({{"x", x}}));
  }
  expect_shape("rms_norm", "weight", weight, {x.size(-1)});
}

Tensor reference(const Tensor& x, const Tensor& weight, double eps) {
  return x * rsqrt(mean(square(x), {-1}, /*keep_dims=*/true) + eps) * weight;
}

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  check(x, weight);
  const std::int64_t n = x.size(-1), rows = x.shape().removed(-1).numel();
  const DType dtype = x.dtype();
  Tensor y = Tensor::empty(x.shape(), dtype, x.device());
  Tensor scale = Tensor::empty(x.shape().with(-1, 1), dtype, x.device());
  launch<kernel::RmsNorm>(x.device(), {x.raw(), weight.raw(), scale.mutable_raw(), y.mutable_raw(),
                                       rows, n, eps, dtype});
  const auto again = [eps](const std::vector<Tensor>& in) { return reference(in[0], in[1], eps); };
  const auto pullback = [=](const Tensor& dy, const std::vector<bool>& needed) {
    std::vector<Tensor> gradients(2);
    if (needed[0]) {
      gradients[0] = Tensor::empty(x.shape(), dtype, x.device());
      launch<kernel::RmsNormGrad>(x.device(), {x.raw(), weight.raw(), scale.raw(), dy.raw(),
                                               gradients[0].mutable_raw(), rows, n, dtype});
    }
    if (needed[1]) gradients[1] = dy * x * scale;  // the engine sums it to weight's shape
    return gradients;
  };
  return record_fused("rms_norm", y, {x, weight}, again, pullback);
}

}  // namespace ito
