#include "autograd/ops/rms_norm.h"

#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"

namespace ito {

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  expect_floating("rms_norm", "x", x);
  expect_defined("rms_norm", "weight", weight);
  expect_same_kind("rms_norm", {{"x", x}, {"weight", weight}});
  if (x.rank() == 0 || x.size(-1) == 0) {
    fail<ShapeError>("rms_norm: x must have channels; got {}", describe({{"x", x}}));
  }
  expect_shape("rms_norm", "weight", weight, {x.size(-1)});
  return x * rsqrt(mean(square(x), {-1}, /*keep_dims=*/true) + eps) * weight;
}

}  // namespace ito
