#include "diffusion/process/level.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/elementwise.h"
#include "tensor/check.h"

namespace ito {

double Level::lambda() const { return std::log(alpha / sigma); }

Levels same_level(const Level& level, const Tensor& x) {
  expect_floating("same_level", "x", x);
  return {Tensor::full({x.size(0)}, level.time, x.dtype(), x.device()),
          Tensor::scalar(level.alpha, x.dtype(), x.device()),
          Tensor::scalar(level.sigma, x.dtype(), x.device())};
}

Tensor add_noise(const Tensor& x0, const Tensor& eps, const Levels& levels) {
  expect_defined("add_noise", "x0", x0);
  expect_shape("add_noise", "eps", eps, x0.shape());
  return levels.alpha * x0 + levels.sigma * eps;
}

Transition transition(const Level& s, const Level& t) {
  const double scale = t.alpha == s.alpha ? 1.0 : t.alpha / s.alpha;  // also where both are 0
  const double all = t.sigma * t.sigma, variance = all - scale * scale * s.sigma * s.sigma;
  if (!(variance >= -1e-14 * all)) {  // rounding may leave less than nothing of nothing
    fail<ValueError>(
        "transition: must lead to more noise; got alpha = {}, sigma = {}, then alpha = {}, sigma = "
        "{}",
        s.alpha, s.sigma, t.alpha, t.sigma);
  }
  return {scale, std::max(variance, 0.0)};
}

}  // namespace ito
