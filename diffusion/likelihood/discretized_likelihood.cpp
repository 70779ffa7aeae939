#include "diffusion/likelihood/discretized_likelihood.h"

#include <cmath>
#include <numbers>

#include "autograd/ops/elementwise.h"

namespace ito {
namespace {

// The distribution function of N(0, 1). 1 + tanh(u) = 2 sigmoid(2 u) does not cancel for u < 0.
Tensor phi(const Tensor& x, DiscretizedLikelihood decoder) {
  if (decoder == DiscretizedLikelihood::erf_bins)
    return 0.5 * (1.0 + erf(x * (1.0 / std::numbers::sqrt2)));
  const double scale = 2.0 * std::sqrt(2.0 / std::numbers::pi);
  return sigmoid(scale * (x + 0.044715 * x * x * x));
}

}  // namespace

Tensor decoder_log_probability(const Tensor& x0, const Tensor& mean, const Tensor& log_variance,
                               DiscretizedLikelihood decoder) {
  const Tensor distance = x0 - mean;
  if (decoder == DiscretizedLikelihood::continuous) {
    return -0.5 * (log_variance + square(distance) * exp(-log_variance) +
                   std::log(2.0 * std::numbers::pi));
  }
  constexpr double half_bin = 1.0 / 255.0, last_inner = 0.999, floor = 1e-12;
  const Tensor per_std = exp(-0.5 * log_variance);
  // A bin has the probability of its mirror image: the one below the mean keeps its digits.
  const Tensor below = -abs(distance);
  const Tensor inner =
      phi(per_std * (below + half_bin), decoder) - phi(per_std * (below - half_bin), decoder);
  const Tensor first = phi(per_std * (distance + half_bin), decoder);
  const Tensor last = phi(per_std * (half_bin - distance), decoder);
  const Tensor p = where(x0 < -last_inner, first, where(x0 > last_inner, last, inner));
  return log(clamp(p, floor, 1.0));
}

}  // namespace ito
