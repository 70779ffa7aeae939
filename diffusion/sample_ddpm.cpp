#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "diffusion/samplers.h"
#include "tensor/check.h"
#include "tensor/graph.h"

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

  // What a step reads lies on x's device and is filled before it, so that every step is the same.
  Tensor x = x_T.clone(), t_of_each = same_timestep(0, x), x0, next;
  const auto coefficient = [&x] { return Tensor::scalar(0.0, x.dtype(), x.device()); };
  Tensor weight_x0 = coefficient(), weight_x_t = coefficient(), sigma = coefficient();
  Tensor noise_step = Tensor::zeros({1}, DType::i64, x.device());
  rng.bind(noise_step);
  const auto one_step = [&] {
    x0 = process.denoise(model, x, t_of_each, options.limit_x0).x0;
    const Tensor mean = weight_x0 * x0 + weight_x_t * x;  // eq. 7
    next = mean + sigma * randn(rng, x.shape(), x.dtype(), x.device());
  };
  Graph step(x.device(), one_step, options.graph);

  for (std::size_t i = tau.size() - 1; i > 0; --i) {
    const std::int64_t t = tau[i], s = tau[i - 1];  // this step goes from x_t to x_s
    const double beta = schedule.beta_between(s, t);
    const double noise_t = schedule.one_minus_alpha_bar(t);
    const double noise_s = schedule.one_minus_alpha_bar(s);
    const double beta_tilde = beta * noise_s / noise_t;
    const double variance = options.variance == ReverseVariance::beta ? beta : beta_tilde;
    const bool last = s == -1;

    t_of_each.fill(static_cast<double>(t));
    weight_x0.fill(schedule.sqrt_alpha_bar(s) * beta / noise_t);
    weight_x_t.fill(std::sqrt(1.0 - beta) * noise_s / noise_t);
    sigma.fill(last ? 0.0 : std::sqrt(variance));  // Algorithm 2: z = 0 at the end
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

}  // namespace ito
