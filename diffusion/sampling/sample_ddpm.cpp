#include <cmath>

#include "autograd/ops/elementwise.h"
#include "diffusion/sampling/samplers.h"
#include "tensor/error.h"

namespace ito {
namespace {

void expect_variance(const NoiseSchedule& schedule, const DdpmOptions& options) {
  const auto given = static_cast<std::int64_t>(options.mean_squared_eps.size());
  const bool needed = options.variance == ReverseVariance::analytic;
  if (given == (needed ? schedule.timesteps() : 0)) return;
  fail<ValueError>(
      "sample_ddpm: mean_squared_eps goes with the analytic variance, one for each of {} "
      "timesteps; got {} with variance {}",
      schedule.timesteps(), given, name_of(options.variance));
}

}  // namespace

Tensor sample_ddpm(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                   Rng rng, const DdpmOptions& options) {
  const NoiseSchedule& schedule = process.schedule;
  expect_variance(schedule, options);
  const std::int64_t steps = options.steps == 0 ? schedule.timesteps() : options.steps;
  SamplingLoop loop("sample_ddpm", process, model, x_T,
                    falling_to_x0(visited_timesteps(schedule, steps, options.spacing)), rng,
                    {options.limit_x0, options.observer, options.graph});
  const auto q = [&](const StepTimes& at) { return posterior_step(schedule, at.t, at.s); };
  const Tensor weight_x0 = loop.number([&](const StepTimes& at) { return q(at).weight_x0; });
  const Tensor weight_x_t = loop.number([&](const StepTimes& at) { return q(at).weight_x_t; });

  const bool learned = options.variance == ReverseVariance::learned;
  const Tensor sigma = loop.number([&](const StepTimes& at) {
    if (at.s == -1) return 0.0;  // Algorithm 2: z = 0 at the end
    if (learned) return 1.0;     // times what the network says
    const auto t = static_cast<std::size_t>(at.t);
    const double eps2 = options.mean_squared_eps.empty() ? 1.0 : options.mean_squared_eps[t];
    return std::sqrt(reverse_variance(schedule, at.t, at.s, options.variance, eps2));
  });
  const Tensor log_beta =
      loop.number([&](const StepTimes& at) { return std::log(schedule.beta_between(at.s, at.t)); });
  const Tensor log_beta_tilde = loop.number([&](const StepTimes& at) {
    return at.s == -1 ? 0.0 : std::log(q(at).variance);  // at the end sigma is 0
  });
  const Tensor t = loop.timestep([](const StepTimes& at) { return at.t; });

  return loop.run([&](const Tensor& x_t) {
    const Denoised d = loop.denoise(x_t);
    Tensor mean = weight_x0 * d.x0 + weight_x_t * x_t;  // eq. 7
    Tensor deviation = sigma;
    if (learned) {
      if (!d.variance.defined()) fail<ValueError>("sample_ddpm: the network learns no variance");
      deviation = sigma * exp(0.5 * learned_log_variance(d.variance, log_beta, log_beta_tilde));
    }
    if (options.shift_mean) mean = mean + square(deviation) * options.shift_mean(x_t, t);
    return mean + deviation * loop.noise();
  });
}

}  // namespace ito
