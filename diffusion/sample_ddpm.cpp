#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "diffusion/samplers.h"
#include "tensor/check.h"

namespace ito {

Tensor sample_ddpm(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                   Rng rng, const DdpmOptions& options) {
  expect_floating("sample_ddpm", "x_T", x_T);
  const NoGrad no_grad;
  const NoiseSchedule& schedule = process.schedule;
  const std::int64_t T = schedule.timesteps();
  std::vector<std::int64_t> tau =
      evenly_spaced_timesteps(T, options.steps == 0 ? T : options.steps);
  tau.insert(tau.begin(), -1);  // x_0

  Tensor x = x_T;
  for (std::size_t i = tau.size() - 1; i > 0; --i) {
    const std::int64_t t = tau[i], s = tau[i - 1];  // this step goes from x_t to x_s
    const double beta = schedule.beta_between(s, t);
    const double noise_t = schedule.one_minus_alpha_bar(t);
    const double noise_s = schedule.one_minus_alpha_bar(s);
    const double beta_tilde = beta * noise_s / noise_t;

    const Tensor x0 = process.denoise(model, x, same_timestep(t, x), options.clip_x0).x0;
    Tensor next = schedule.sqrt_alpha_bar(s) * beta / noise_t * x0 +
                  std::sqrt(1.0 - beta) * noise_s / noise_t * x;  // the mean, eq. 7
    const bool last = s == -1;
    if (!last) {  // Algorithm 2: z = 0 at the end
      const double variance = options.variance == ReverseVariance::beta ? beta : beta_tilde;
      rng.seek(static_cast<std::uint64_t>(t) + 1, rng.first_sample());
      next = next + std::sqrt(variance) * randn(rng, x.shape(), x.dtype(), x.device());
    }
    if (options.observer) {
      const auto steps = static_cast<std::int64_t>(tau.size()) - 1;
      options.observer({steps + 1 - static_cast<std::int64_t>(i), steps, t, x, x0, next});
    }
    x = next;
  }
  return x;
}

}  // namespace ito
