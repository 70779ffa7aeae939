#include "autograd/ops/quantile.h"

#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"
#include "tensor/kernels/quantile.h"
#include "tensor/launch.h"

namespace ito {
namespace {

// weight where x equals its row's value, shared equally among equal elements: d value / d x.
Tensor share(const Tensor& x, const Tensor& value, double weight) {
  const Tensor chosen = equal(x, value);
  return weight * (chosen / sum(chosen, {-1}, /*keep_dims=*/true));
}

}  // namespace

Tensor quantile(const Tensor& x, double q) {
  expect_floating("quantile", "x", x);
  if (x.rank() == 0 || x.size(-1) == 0) {
    fail<ShapeError>("quantile: rows must have elements; got {}", describe({{"x", x}}));
  }
  if (!(q >= 0.0 && q <= 1.0)) fail<ValueError>("quantile: q must be in [0, 1]; got {}", q);
  const std::int64_t n = x.size(-1), rows = x.numel() / n;
  const double position = q * static_cast<double>(n - 1), below = std::floor(position);
  const double weight = position - below;

  const Shape kept = x.shape().with(-1, 1);
  Tensor lower = Tensor::empty(kept, x.dtype(), x.device());
  Tensor upper = Tensor::empty(kept, x.dtype(), x.device());
  launch<kernel::OrderStatistics>(x.device(),
                                  {x.raw(), lower.mutable_raw(), upper.mutable_raw(), rows, n,
                                   static_cast<std::int64_t>(below), x.dtype()});
  Tensor y;
  {
    const NoGrad off;
    y = weight == 0.0 ? lower : (1.0 - weight) * lower + weight * upper;
  }
  return record("quantile", y.view(x.shape().removed(-1)),
                {{x, [x, lower, upper, weight, kept](const Tensor& dy) {
                    const Tensor chosen = share(x, lower, 1.0 - weight) + share(x, upper, weight);
                    return reshape(dy, kept) * chosen;
                  }}});
}

}  // namespace ito
