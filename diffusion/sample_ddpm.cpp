#include <cmath>

#include "autograd/ops/elementwise.h"
#include "diffusion/samplers.h"

namespace ito {

Tensor sample_ddpm(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                   Rng rng, const DdpmOptions& options) {
  const NoiseSchedule& schedule = process.schedule;
  const std::int64_t T = schedule.timesteps(), steps = options.steps == 0 ? T : options.steps;
  SamplingLoop loop("sample_ddpm", process, model, x_T,
                    falling_to_x0(evenly_spaced_timesteps(T, steps)), rng,
                    {options.limit_x0, options.observer, options.graph});
  const auto beta = [&](const StepTimes& at) { return schedule.beta_between(at.s, at.t); };
  const auto noise = [&](std::int64_t t) { return schedule.one_minus_alpha_bar(t); };
  const Tensor weight_x0 = loop.number(
      [&](const StepTimes& at) { return schedule.sqrt_alpha_bar(at.s) * beta(at) / noise(at.t); });
  const Tensor weight_x_t = loop.number(
      [&](const StepTimes& at) { return std::sqrt(1.0 - beta(at)) * noise(at.s) / noise(at.t); });
  const Tensor sigma = loop.number([&](const StepTimes& at) {
    if (at.s == -1) return 0.0;  // Algorithm 2: z = 0 at the end
    const double beta_tilde = beta(at) * noise(at.s) / noise(at.t);
    return std::sqrt(options.variance == ReverseVariance::beta ? beta(at) : beta_tilde);
  });
  return loop.run([&](const Tensor& x_t) {
    const Tensor mean = weight_x0 * loop.denoise(x_t).x0 + weight_x_t * x_t;  // eq. 7
    return mean + sigma * loop.noise();
  });
}

}  // namespace ito
