#include "diffusion/denoiser/gaussian_diffusion.h"

#include <cmath>
#include <numeric>
#include <vector>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"
#include "tensor/graph.h"
#include "tensor/profile.h"

namespace ito {
namespace {

void expect_batch(const char* op, const NoiseSchedule& schedule, const char* name, const Tensor& x,
                  const Tensor& t) {
  expect_defined(op, name, x);
  expect_defined(op, "t", t);
  expect_floating(op, name, x);
  expect_dtype(op, "t", t, DType::i64);
  if (x.rank() < 1) fail<ShapeError>("{}: {} must be [N, ...]; got {}", op, name, x.str());
  expect_shape(op, "t", t, {x.size(0)});
  if (recording_graph()) return;  // nothing can be read back; gather gives NaN for a bad t
  for (const std::int64_t step : t.to_vector<std::int64_t>()) {
    if (step < 0 || step >= schedule.timesteps()) {
      fail<ValueError>("{}: timesteps count from 0 to {}; got {}", op, schedule.timesteps() - 1,
                       step);
    }
  }
}

// The coefficients at a timestep.

double sqrt_alpha_bar(const NoiseSchedule& schedule, std::int64_t t) {
  return schedule.sqrt_alpha_bar(t);
}
double sqrt_one_minus_alpha_bar(const NoiseSchedule& schedule, std::int64_t t) {
  return schedule.sqrt_one_minus_alpha_bar(t);
}
double sqrt_one_minus_beta(const NoiseSchedule& schedule, std::int64_t t) {
  return std::sqrt(1.0 - schedule.beta(t));
}
double sqrt_beta(const NoiseSchedule& schedule, std::int64_t t) {
  return std::sqrt(schedule.beta(t));
}
double posterior_weight_x0(const NoiseSchedule& schedule, std::int64_t t) {
  return schedule.sqrt_alpha_bar(t - 1) * schedule.beta(t) / schedule.one_minus_alpha_bar(t);
}
double posterior_weight_x_t(const NoiseSchedule& schedule, std::int64_t t) {
  return std::sqrt(schedule.alpha(t)) * schedule.one_minus_alpha_bar(t - 1) /
         schedule.one_minus_alpha_bar(t);
}
double beta_tilde(const NoiseSchedule& schedule, std::int64_t t) { return schedule.beta_tilde(t); }
double log_beta_tilde_clipped(const NoiseSchedule& schedule, std::int64_t t) {
  return schedule.log_beta_tilde_clipped(t);
}

}  // namespace

NetworkOutput split_output(const Tensor& output, const Tensor& x) {
  const std::int64_t channels = x.rank() < 2 ? 0 : x.size(-1);
  if (channels == 0 || output.shape() != x.shape().with(-1, 2 * channels)) {
    expect_shape("denoiser", "the network's output", output, x.shape());
    return {output, {}};
  }
  return {slice(output, -1, 0, channels), slice(output, -1, channels, 2 * channels)};
}

NoiseLevel GaussianDiffusion::noise_level(const Tensor& t, const Tensor& x) const {
  expect_batch("noise_level", schedule, "x", x, t);
  return {schedule.per_sample(sqrt_alpha_bar, t, x),
          schedule.per_sample(sqrt_one_minus_alpha_bar, t, x)};
}

NoiseLevel GaussianDiffusion::noise_levels(DType dtype, Device device) const {
  return {schedule.table(sqrt_alpha_bar, dtype, device),
          schedule.table(sqrt_one_minus_alpha_bar, dtype, device)};
}

Tensor GaussianDiffusion::add_noise(const Tensor& x0, const Tensor& t, const Tensor& eps) const {
  expect_batch("add_noise", schedule, "x0", x0, t);
  expect_shape("add_noise", "eps", eps, x0.shape());
  const NoiseLevel level = noise_level(t, x0);
  return level.alpha * x0 + level.sigma * eps;
}

Tensor GaussianDiffusion::add_noise_step(const Tensor& x_prev, const Tensor& t,
                                         const Tensor& eps) const {
  expect_batch("add_noise_step", schedule, "x_prev", x_prev, t);
  expect_shape("add_noise_step", "eps", eps, x_prev.shape());
  const Tensor keep = schedule.per_sample(sqrt_one_minus_beta, t, x_prev);
  const Tensor noise = schedule.per_sample(sqrt_beta, t, x_prev);
  return keep * x_prev + noise * eps;
}

Posterior GaussianDiffusion::posterior(const Tensor& x0, const Tensor& x_t, const Tensor& t) const {
  expect_batch("posterior", schedule, "x_t", x_t, t);
  expect_shape("posterior", "x0", x0, x_t.shape());
  const Tensor weight_x0 = schedule.per_sample(posterior_weight_x0, t, x_t);
  const Tensor weight_x_t = schedule.per_sample(posterior_weight_x_t, t, x_t);
  return {weight_x0 * x0 + weight_x_t * x_t, schedule.per_sample(beta_tilde, t, x_t),
          schedule.per_sample(log_beta_tilde_clipped, t, x_t)};
}

Tensor GaussianDiffusion::target(const Tensor& x0, const Tensor& t, const Tensor& eps) const {
  const bool as_is = prediction == Prediction::epsilon || prediction == Prediction::x0;
  const NoiseLevel level = as_is ? NoiseLevel{} : noise_level(t, x0);  // no look-up in vain
  return output_for(prediction, {x0, eps}, level, sigma_data);
}

Tensor GaussianDiffusion::losses(const Denoiser& model, const Tensor& x0, const Tensor& t,
                                 const Tensor& eps) const {
  return losses_of(model(add_noise(x0, t, eps), t), x0, t, eps);
}

Tensor GaussianDiffusion::losses_of(const Tensor& output, const Tensor& x0, const Tensor& t,
                                    const Tensor& eps) const {
  const profile::Scope scope("loss");
  const Tensor predicted = split_output(output, x0).prediction;
  std::vector<int> inner(static_cast<std::size_t>(x0.rank() - 1));
  std::iota(inner.begin(), inner.end(), 1);
  const Tensor widened =
      predicted.dtype() == DType::bf16 ? convert(predicted, x0.dtype()) : predicted;
  const Tensor error = square(widened - target(x0, t, eps));
  return inner.empty() ? error : mean(error, inner);
}

Tensor GaussianDiffusion::loss(const Denoiser& model, const Tensor& x0, const Tensor& t,
                               const Tensor& eps) const {
  return mean(losses(model, x0, t, eps));
}

Denoised GaussianDiffusion::denoise(const Denoiser& model, const Tensor& x_t, const Tensor& t,
                                    const X0Limit& limit) const {
  if (schedule.has_zero_terminal_snr() && needs_signal(prediction)) {
    fail<ValueError>("denoise: where alpha_bar is 0, {} says nothing about x_0; predict v or x0",
                     name_of(prediction));
  }
  const NoiseLevel level = noise_level(t, x_t);
  const auto [output, variance] = split_output(model(x_t, t), x_t);
  const SignalAndNoise x = explain(prediction, output, x_t, level, sigma_data);
  Denoised d{x.x0, x.eps, variance};
  if (limit) {
    d.x0 = limit(d.x0);
    d.eps = epsilon_from_x0(d.x0, x_t, level);
  }
  return d;
}

double GaussianDiffusion::bound_weight(std::int64_t t, ReverseVariance variance) const {
  const double beta = schedule.beta(t);
  const double sigma2 = variance == ReverseVariance::beta ? beta : schedule.beta_tilde(t);
  if (sigma2 == 0.0) {
    fail<ValueError>("bound_weight: with variance beta_tilde t must be at least 1; got {}", t);
  }
  return beta * beta / (2.0 * sigma2 * schedule.alpha(t) * schedule.one_minus_alpha_bar(t));
}

}  // namespace ito
