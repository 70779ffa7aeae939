#include <cmath>

#include "autograd/ops/elementwise.h"
#include "diffusion/sampling/samplers.h"
#include "tensor/check.h"

namespace ito {

Tensor sample_ddim(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                   Rng rng, const DdimOptions& options) {
  if (!(options.eta >= 0.0)) fail<ValueError>("sample_ddim: eta must be >= 0; got {}", options.eta);
  const NoiseSchedule& schedule = process.schedule;
  const bool analytic = !options.mean_squared_eps.empty();
  if (analytic && std::ssize(options.mean_squared_eps) != schedule.timesteps()) {
    fail<ValueError>("sample_ddim: mean_squared_eps must have {} numbers, one per timestep; got {}",
                     schedule.timesteps(), options.mean_squared_eps.size());
  }
  SamplingLoop loop("sample_ddim", process, model, x_T,
                    falling_to_x0(visited_timesteps(schedule, options.steps, options.spacing)), rng,
                    {options.limit_x0, options.observer, options.graph});
  const auto noise = [&](std::int64_t t) { return schedule.one_minus_alpha_bar(t); };
  const auto sigma_of = [&](const StepTimes& at) {  // eq. 16
    return options.eta * std::sqrt(noise(at.s) / noise(at.t) * schedule.beta_between(at.s, at.t));
  };
  const Tensor weight_x0 =
      loop.number([&](const StepTimes& at) { return schedule.sqrt_alpha_bar(at.s); });
  const Tensor weight_eps = loop.number([&](const StepTimes& at) {
    const double towards_x_t = noise(at.s) - sigma_of(at) * sigma_of(at);
    if (towards_x_t < 0.0) {
      fail<ValueError>("sample_ddim: eta is too large for the step from t = {} to {}; got {}", at.t,
                       at.s, options.eta);
    }
    return std::sqrt(towards_x_t);
  });
  const Tensor sigma = loop.number([&](const StepTimes& at) {
    if (!analytic || at.s == -1) return sigma_of(at);
    return std::sqrt(analytic_variance(schedule, at.t, at.s, sigma_of(at) * sigma_of(at),
                                       options.mean_squared_eps[static_cast<std::size_t>(at.t)]));
  });
  return loop.run([&](const Tensor& x_t) {
    const Denoised denoised = loop.denoise(x_t);
    const Tensor mean = weight_x0 * denoised.x0 + weight_eps * denoised.eps;  // eq. 12
    return options.eta > 0.0 || analytic ? mean + sigma * loop.noise() : mean;
  });
}

Tensor encode_ddim(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x0,
                   std::int64_t steps, bool graph, Spacing spacing) {
  expect_floating("encode_ddim", "x0", x0);
  const NoiseSchedule& schedule = process.schedule;
  std::vector<std::int64_t> path = visited_timesteps(schedule, steps, spacing);
  path.insert(path.begin(), -1);  // no noise yet
  SamplingLoop loop("encode_ddim", process, model, x0, std::move(path), Rng(0), {.graph = graph});
  const auto alpha = [&](std::int64_t t) { return schedule.sqrt_alpha_bar(t); };
  const auto sigma = [&](std::int64_t t) { return schedule.sqrt_one_minus_alpha_bar(t); };
  const Tensor per_alpha_t = loop.number([&](const StepTimes& at) { return 1.0 / alpha(at.t); });
  const Tensor sigma_t = loop.number([&](const StepTimes& at) { return sigma(at.t); });
  const Tensor alpha_s = loop.number([&](const StepTimes& at) { return alpha(at.s); });
  const Tensor sigma_s = loop.number([&](const StepTimes& at) { return sigma(at.s); });
  return loop.run([&](const Tensor& x_t) {
    const Tensor eps = loop.denoise(x_t).eps;
    const Tensor x0_hat = per_alpha_t * (x_t - sigma_t * eps);  // at t = -1 that is x_t
    return alpha_s * x0_hat + sigma_s * eps;
  });
}

}  // namespace ito
