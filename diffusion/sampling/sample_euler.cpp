#include "autograd/ops/elementwise.h"
#include "diffusion/sampling/samplers.h"

namespace ito {

Tensor sample_euler(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                    Rng rng, const OdeOptions& options) {
  const NoiseSchedule& schedule = process.schedule;
  SamplingLoop loop("sample_euler", process, model, x_T,
                    falling_to_x0(visited_timesteps(schedule, options.steps, options.spacing)), rng,
                    {options.limit_x0, options.observer, options.graph});
  const Tensor alpha_s =
      loop.number([&](const StepTimes& at) { return schedule.sqrt_alpha_bar(at.s); });
  const Tensor sigma_s = loop.number([&](const StepTimes& at) { return schedule.sigma(at.s); });
  return loop.run([&](const Tensor& x_t) {
    const Denoised d = loop.denoise(x_t);
    // x_bar_s = x_bar_t + (sigma_s - sigma_t) eps, with x_bar_t = x_0 + sigma_t eps.
    return alpha_s * (d.x0 + sigma_s * d.eps);
  });
}

}  // namespace ito
