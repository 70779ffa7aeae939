#include <algorithm>
#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "diffusion/samplers.h"
#include "tensor/check.h"
#include "tensor/graph.h"

namespace ito {

Tensor sample_ddim(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                   Rng rng, const DdimOptions& options) {
  expect_floating("sample_ddim", "x_T", x_T);
  if (!(options.eta >= 0.0)) fail<ValueError>("sample_ddim: eta must be >= 0; got {}", options.eta);
  const NoGrad no_grad;
  const NoiseSchedule& schedule = process.schedule;
  std::vector<std::int64_t> tau = evenly_spaced_timesteps(schedule.timesteps(), options.steps);
  tau.insert(tau.begin(), -1);  // x_0

  // What a step reads lies on x's device and is filled before it, so that every step is the same.
  Tensor x = x_T.clone(), t_of_each = same_timestep(0, x), x0, next;
  const auto coefficient = [&x] { return Tensor::scalar(0.0, x.dtype(), x.device()); };
  Tensor weight_x0 = coefficient(), weight_eps = coefficient(), sigma = coefficient();
  Tensor noise_step = Tensor::zeros({1}, DType::i64, x.device());
  rng.bind(noise_step);
  const auto one_step = [&] {
    const Denoised denoised = process.denoise(model, x, t_of_each, options.limit_x0);
    x0 = denoised.x0;
    next = weight_x0 * x0 + weight_eps * denoised.eps;  // eq. 12
    if (options.eta > 0.0) next = next + sigma * randn(rng, x.shape(), x.dtype(), x.device());
  };
  Graph step(x.device(), one_step, options.graph);

  for (std::size_t i = tau.size() - 1; i > 0; --i) {
    const std::int64_t t = tau[i], s = tau[i - 1];  // this step goes from x_t to x_s
    const double noise_t = schedule.one_minus_alpha_bar(t);
    const double noise_s = schedule.one_minus_alpha_bar(s);
    const double sigma_t =
        options.eta * std::sqrt(noise_s / noise_t * schedule.beta_between(s, t));  // eq. 16
    const double towards_x_t = noise_s - sigma_t * sigma_t;
    if (towards_x_t < 0.0) {
      fail<ValueError>("sample_ddim: eta is too large for the step from t = {} to {}; got {}", t, s,
                       options.eta);
    }

    t_of_each.fill(static_cast<double>(t));
    weight_x0.fill(schedule.sqrt_alpha_bar(s));
    weight_eps.fill(std::sqrt(towards_x_t));
    sigma.fill(sigma_t);
    noise_step.fill(static_cast<double>(t + 1));
    rng.seek(0, rng.first_sample());  // draw 0 of that step
    step.run();
    if (options.observer) {
      const auto steps = static_cast<std::int64_t>(tau.size()) - 1;
      options.observer({steps + 1 - static_cast<std::int64_t>(i), steps, t, x, x0, next});
    }
    x.assign(next);
  }
  return x;
}

Tensor encode_ddim(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x0,
                   std::int64_t steps, bool graph) {
  expect_floating("encode_ddim", "x0", x0);
  const NoGrad no_grad;
  const NoiseSchedule& schedule = process.schedule;
  Tensor x = x0.clone(), s_of_each = same_timestep(0, x);
  const auto coefficient = [&x] { return Tensor::scalar(0.0, x.dtype(), x.device()); };
  Tensor per_alpha_s = coefficient(), sigma_s = coefficient();
  Tensor alpha_t = coefficient(), sigma_t = coefficient();
  const auto one_step = [&] {
    const Tensor eps = process.denoise(model, x, s_of_each).eps;
    const Tensor x0_hat = per_alpha_s * (x - sigma_s * eps);
    x.assign(alpha_t * x0_hat + sigma_t * eps);
  };
  Graph step(x.device(), one_step, graph);

  std::int64_t s = -1;  // no noise yet
  for (const std::int64_t t : evenly_spaced_timesteps(schedule.timesteps(), steps)) {
    // x_0 has no timestep of its own: the network is asked at the first one.
    s_of_each.fill(static_cast<double>(std::max<std::int64_t>(s, 0)));
    per_alpha_s.fill(1.0 / schedule.sqrt_alpha_bar(s));
    sigma_s.fill(schedule.sqrt_one_minus_alpha_bar(s));
    alpha_t.fill(schedule.sqrt_alpha_bar(t));
    sigma_t.fill(schedule.sqrt_one_minus_alpha_bar(t));
    step.run();
    s = t;
  }
  return x;
}

}  // namespace ito
