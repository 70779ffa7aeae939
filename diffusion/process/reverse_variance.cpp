#include "diffusion/process/reverse_variance.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/elementwise.h"
#include "tensor/error.h"

namespace ito {

const char* name_of(ReverseVariance variance) {
  switch (variance) {
    case ReverseVariance::beta:
      return "beta";
    case ReverseVariance::beta_tilde:
      return "beta-tilde";
    case ReverseVariance::learned:
      return "learned";
    case ReverseVariance::analytic:
      return "analytic";
  }
  return "?";
}

ReverseVariance reverse_variance_from_name(const std::string& name) {
  for (const auto variance : {ReverseVariance::beta, ReverseVariance::beta_tilde,
                              ReverseVariance::learned, ReverseVariance::analytic}) {
    if (name == name_of(variance)) return variance;
  }
  fail<ValueError>("variance: must be beta, beta-tilde, learned or analytic; got \"{}\"", name);
}

PosteriorStep posterior_step(const NoiseSchedule& schedule, std::int64_t t, std::int64_t s) {
  const double beta = schedule.beta_between(s, t);
  const double noise_s = schedule.one_minus_alpha_bar(s);
  const double noise_t = schedule.one_minus_alpha_bar(t);
  return {.weight_x0 = schedule.sqrt_alpha_bar(s) * beta / noise_t,
          .weight_x_t = std::sqrt(1.0 - beta) * noise_s / noise_t,
          .variance = beta * noise_s / noise_t};
}

double reverse_variance(const NoiseSchedule& schedule, std::int64_t t, std::int64_t s,
                        ReverseVariance variance, double mean_squared_eps) {
  const PosteriorStep q = posterior_step(schedule, t, s);
  switch (variance) {
    case ReverseVariance::beta:
      return schedule.beta_between(s, t);
    case ReverseVariance::beta_tilde:
      return q.variance;
    case ReverseVariance::analytic:
      return q.variance + q.weight_x0 * q.weight_x0 * variance_of_x0(schedule, t, mean_squared_eps);
    case ReverseVariance::learned:
      break;
  }
  fail<ValueError>(
      "reverse_variance: a learned variance is not a number of the schedule; got "
      "ReverseVariance::learned at t = {}",
      t);
}

double variance_of_x0(const NoiseSchedule& schedule, std::int64_t t, double mean_squared_eps) {
  if (schedule.alpha_bar(t) == 0.0) return 1.0;  // x_t says nothing about x_0
  return std::clamp((1.0 - mean_squared_eps) / schedule.snr(t), 0.0, 1.0);
}

double analytic_variance(const NoiseSchedule& schedule, std::int64_t t, std::int64_t s,
                         double lambda2, double mean_squared_eps) {
  const double noise_s = schedule.one_minus_alpha_bar(s);
  if (!(s < t && 0.0 <= lambda2 && lambda2 <= noise_s)) {
    fail<ValueError>(
        "analytic_variance: needs s < t and 0 <= lambda2 <= {}; got s = {}, t = {}, "
        "lambda2 = {}",
        noise_s, s, t, lambda2);
  }
  // The mean is sqrt(alpha_bar_s) x_0 + sqrt(1 - alpha_bar_s - lambda2) eps, where eps is what x_0
  // leaves of x_t: (x_t - sqrt(alpha_bar_t) x_0) / sqrt(1 - alpha_bar_t).
  const double weight_x0 =
      schedule.sqrt_alpha_bar(s) - std::sqrt(noise_s - lambda2) * std::sqrt(schedule.snr(t));
  return lambda2 + weight_x0 * weight_x0 * variance_of_x0(schedule, t, mean_squared_eps);
}

Tensor learned_log_variance(const Tensor& output, const Tensor& log_beta,
                            const Tensor& log_beta_tilde) {
  const Tensor towards_beta = 0.5 * (output + 1.0);
  return towards_beta * log_beta + (1.0 - towards_beta) * log_beta_tilde;
}

}  // namespace ito
