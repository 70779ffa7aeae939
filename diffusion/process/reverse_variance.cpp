#include "diffusion/process/reverse_variance.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/elementwise.h"
#include "tensor/error.h"

namespace ito {

PosteriorStep posterior_step(const Level& t, const Level& s) {
  const auto [scale, variance] = transition(s, t);
  const double noise_s = s.sigma * s.sigma, noise_t = t.sigma * t.sigma;
  return {.weight_x0 = s.alpha * variance / noise_t,
          .weight_x_t = scale * noise_s / noise_t,
          .variance = variance * noise_s / noise_t};
}

double reverse_variance(const Level& t, const Level& s, ReverseVariance variance,
                        double mean_squared_eps) {
  const PosteriorStep q = posterior_step(t, s);
  switch (variance) {
    case ReverseVariance::beta:
      return transition(s, t).variance;
    case ReverseVariance::beta_tilde:
      return q.variance;
    case ReverseVariance::analytic:
      return q.variance + q.weight_x0 * q.weight_x0 * variance_of_x0(t, mean_squared_eps);
    case ReverseVariance::learned:
      break;
  }
  fail<ValueError>(
      "reverse_variance: a learned variance differs from element to element; got "
      "ReverseVariance::learned");
}

double variance_of_x0(const Level& t, double mean_squared_eps) {
  if (t.alpha == 0.0) return 1.0;  // x_t says nothing about x_0
  const double ratio = t.noise_to_signal();
  return std::clamp(ratio * ratio * (1.0 - mean_squared_eps), 0.0, 1.0);
}

double analytic_variance(const Level& t, const Level& s, double lambda2, double mean_squared_eps) {
  const double noise_s = s.sigma * s.sigma;
  if (!(0.0 <= lambda2 && lambda2 <= noise_s)) {
    fail<ValueError>("analytic_variance: needs 0 <= lambda2 <= {}; got lambda2 = {}", noise_s,
                     lambda2);
  }
  // The mean is alpha_s x_0 + sqrt(sigma_s^2 - lambda2) eps with eps = (x_t - alpha_t x_0) /
  // sigma_t.
  const double weight_x0 = s.alpha - std::sqrt(noise_s - lambda2) * t.alpha / t.sigma;
  return lambda2 + weight_x0 * weight_x0 * variance_of_x0(t, mean_squared_eps);
}

Tensor learned_log_variance(const Tensor& output, const Tensor& log_beta,
                            const Tensor& log_beta_tilde) {
  const Tensor towards_beta = 0.5 * (output + 1.0);
  return towards_beta * log_beta + (1.0 - towards_beta) * log_beta_tilde;
}

}  // namespace ito
