#include <algorithm>
#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "diffusion/samplers.h"
#include "tensor/check.h"

namespace ito {

Tensor sample_ddim(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                   Rng rng, const DdimOptions& options) {
  expect_floating("sample_ddim", "x_T", x_T);
  if (!(options.eta >= 0.0)) fail<ValueError>("sample_ddim: eta must be >= 0; got {}", options.eta);
  const NoGrad no_grad;
  const NoiseSchedule& schedule = process.schedule;
  std::vector<std::int64_t> tau = evenly_spaced_timesteps(schedule.timesteps(), options.steps);
  tau.insert(tau.begin(), -1);  // x_0

  Tensor x = x_T;
  for (std::size_t i = tau.size() - 1; i > 0; --i) {
    const std::int64_t t = tau[i], s = tau[i - 1];  // this step goes from x_t to x_s
    const double noise_t = schedule.one_minus_alpha_bar(t);
    const double noise_s = schedule.one_minus_alpha_bar(s);
    const double sigma =
        options.eta * std::sqrt(noise_s / noise_t * schedule.beta_between(s, t));  // eq. 16
    const double towards_x_t = noise_s - sigma * sigma;
    if (towards_x_t < 0.0) {
      fail<ValueError>("sample_ddim: eta is too large for the step from t = {} to {}; got {}", t, s,
                       options.eta);
    }

    const auto [x0, eps] = process.denoise(model, x, same_timestep(t, x), options.clip_x0);
    Tensor next = schedule.sqrt_alpha_bar(s) * x0 + std::sqrt(towards_x_t) * eps;  // eq. 12
    if (sigma > 0.0) {
      rng.seek(static_cast<std::uint64_t>(t) + 1, rng.first_sample());
      next = next + sigma * randn(rng, x.shape(), x.dtype(), x.device());
    }
    if (options.observer) {
      const auto steps = static_cast<std::int64_t>(tau.size()) - 1;
      options.observer({steps + 1 - static_cast<std::int64_t>(i), steps, t, x, x0, next});
    }
    x = next;
  }
  return x;
}

Tensor encode_ddim(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x0,
                   std::int64_t steps) {
  expect_floating("encode_ddim", "x0", x0);
  const NoGrad no_grad;
  const NoiseSchedule& schedule = process.schedule;
  Tensor x = x0;
  std::int64_t s = -1;  // no noise yet
  for (const std::int64_t t : evenly_spaced_timesteps(schedule.timesteps(), steps)) {
    // x_0 has no timestep of its own: the network is asked at the first one.
    const Tensor eps =
        process.denoise(model, x, same_timestep(std::max<std::int64_t>(s, 0), x)).eps;
    const Tensor x0_hat =
        1.0 / schedule.sqrt_alpha_bar(s) * (x - schedule.sqrt_one_minus_alpha_bar(s) * eps);
    x = schedule.sqrt_alpha_bar(t) * x0_hat + schedule.sqrt_one_minus_alpha_bar(t) * eps;
    s = t;
  }
  return x;
}

}  // namespace ito
