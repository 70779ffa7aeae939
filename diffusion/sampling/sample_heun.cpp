#include <algorithm>
#include <cmath>
#include <numbers>

#include "autograd/ops/elementwise.h"
#include "diffusion/sampling/samplers.h"
#include "tensor/error.h"

namespace ito {

Tensor sample_heun(const Denoiser& model, const Tensor& x_T, std::span<const Level> levels, Rng rng,
                   const HeunOptions& options) {
  if (!(options.churn >= 0.0 && options.churn_min >= 0.0 && options.churn_max >= 0.0 &&
        options.churn_noise >= 0.0)) {
    fail<ValueError>("sample_heun: churn, churn_min, churn_max and churn_noise must be >= 0");
  }
  if (options.churn > 0.0 && !options.level_at) {
    fail<ValueError>("sample_heun: churn needs level_at, the level with more noise; got none");
  }
  SamplingLoop loop("sample_heun", model, x_T, levels, std::move(rng), options.loop);

  // The paper's t hat: more noise than where the step starts, where there is churn.
  const double gamma =
      std::min(options.churn / static_cast<double>(levels.size() - 1), std::numbers::sqrt2 - 1.0);
  const auto raised = [&](const SamplingStep& s) {
    const double sigma_bar = s.from.noise_to_signal();
    if (gamma == 0.0 || sigma_bar < options.churn_min || sigma_bar > options.churn_max) {
      return s.from;
    }
    const Level level = options.level_at((1.0 + gamma) * sigma_bar);
    return level.noise_to_signal() > sigma_bar ? level : s.from;  // at the end there is no more
  };
  const Levels at_raised = loop.level(raised);
  const Tensor keep =
      loop.number([&](const SamplingStep& s) { return transition(s.from, raised(s)).scale; });
  const Tensor added = loop.number([&](const SamplingStep& s) {
    return options.churn_noise * std::sqrt(transition(s.from, raised(s)).variance);
  });
  const auto churned = [&](const Tensor& x) {
    return options.churn > 0.0 ? keep * x + added * loop.noise() : x;
  };

  const Levels to =
      loop.level([](const SamplingStep& s) { return s.to.is_clean() ? s.from : s.to; });
  const Tensor alpha = loop.number([](const SamplingStep& s) { return s.to.alpha; });
  const Tensor sigma_bar =
      loop.number([](const SamplingStep& s) { return s.to.noise_to_signal(); });
  const Tensor half_step = loop.number([&](const SamplingStep& s) {
    const double step = s.to.noise_to_signal() - raised(s).noise_to_signal();
    return std::isfinite(step) ? 0.5 * s.to.alpha * step : 0.0;
  });
  const auto update = [&](const Tensor& x) {
    const Tensor x_hat = churned(x);
    const Denoised d = loop.denoise(x_hat, at_raised);
    const Tensor euler = alpha * (d.x0 + sigma_bar * d.eps);  // as in sample_euler
    return euler + half_step * (loop.denoise(euler, to).eps - d.eps);
  };
  const auto to_x0 = [&](const Tensor& x) { return loop.denoise(churned(x), at_raised).x0; };
  return levels.back().is_clean() ? loop.run(update, to_x0) : loop.run(update);
}

}  // namespace ito
