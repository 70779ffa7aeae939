#include <algorithm>
#include <cmath>
#include <numbers>

#include "autograd/ops/elementwise.h"
#include "diffusion/sampling/samplers.h"
#include "tensor/error.h"

namespace ito {

Tensor sample_heun(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                   Rng rng, const HeunOptions& options) {
  if (!(options.churn >= 0.0 && options.churn_above >= 0.0 && options.churn_below >= 0.0 &&
        options.churn_noise >= 0.0)) {
    fail<ValueError>("sample_heun: churn, churn_above, churn_below and churn_noise must be >= 0");
  }
  const NoiseSchedule& schedule = process.schedule;
  SamplingLoop loop("sample_heun", process, model, x_T,
                    falling_to_x0(visited_timesteps(schedule, options.steps, options.spacing)), rng,
                    {options.limit_x0, options.observer, options.graph});

  // The paper's t hat: more noise than at t, where there is churn.
  const double gamma =
      std::min(options.churn / static_cast<double>(options.steps), std::numbers::sqrt2 - 1.0);
  const auto raised = [&](const StepTimes& at) {
    const double sigma = schedule.sigma(at.t);
    if (sigma < options.churn_above || sigma > options.churn_below) return at.t;
    return std::max(at.t, schedule.nearest_timestep((1.0 + gamma) * sigma));
  };
  const auto churn_variance = [&](const StepTimes& at) {
    return raised(at) == at.t ? 0.0 : schedule.beta_between(at.t, raised(at));
  };
  const Tensor t_hat = loop.timestep(raised);
  const Tensor keep =
      loop.number([&](const StepTimes& at) { return std::sqrt(1.0 - churn_variance(at)); });
  const Tensor added = loop.number(
      [&](const StepTimes& at) { return options.churn_noise * std::sqrt(churn_variance(at)); });
  const auto churned = [&](const Tensor& x_t) {
    return options.churn > 0.0 ? keep * x_t + added * loop.noise() : x_t;
  };

  const Tensor t_s =
      loop.timestep([](const StepTimes& at) { return std::max<std::int64_t>(at.s, 0); });
  const Tensor alpha_s =
      loop.number([&](const StepTimes& at) { return schedule.sqrt_alpha_bar(at.s); });
  const Tensor sigma_s = loop.number([&](const StepTimes& at) { return schedule.sigma(at.s); });
  const Tensor half_step = loop.number([&](const StepTimes& at) {
    const double step = schedule.sigma(at.s) - schedule.sigma(raised(at));
    return std::isfinite(step) ? 0.5 * schedule.sqrt_alpha_bar(at.s) * step : 0.0;
  });
  const auto step = [&](const Tensor& x_t) {
    const Tensor x_hat = churned(x_t);
    const Denoised d = loop.denoise(x_hat, t_hat);
    const Tensor euler = alpha_s * (d.x0 + sigma_s * d.eps);  // as in sample_euler
    return euler + half_step * (loop.denoise(euler, t_s).eps - d.eps);
  };
  const auto to_x0 = [&](const Tensor& x_t) { return loop.denoise(churned(x_t), t_hat).x0; };
  return loop.run(step, to_x0);
}

}  // namespace ito
