#include <cmath>

#include "autograd/ops/elementwise.h"
#include "diffusion/sampling/samplers.h"
#include "tensor/error.h"

namespace ito {

Tensor sample_ddpm(const Denoiser& model, const Tensor& x_T, std::span<const Level> levels, Rng rng,
                   const DdpmOptions& options) {
  SamplingLoop loop("sample_ddpm", model, x_T, levels, std::move(rng), options.loop);
  const std::size_t given = options.mean_squared_eps.size();
  const bool analytic = options.variance == ReverseVariance::analytic;
  if (given != (analytic ? levels.size() - 1 : 0)) {
    fail<ValueError>(
        "sample_ddpm: mean_squared_eps goes with the analytic variance, one for each of {} steps; "
        "got {} with variance {}",
        levels.size() - 1, given, name_of(options.variance));
  }
  const Tensor weight_x0 =
      loop.number([](const SamplingStep& s) { return posterior_step(s.from, s.to).weight_x0; });
  const Tensor weight_x =
      loop.number([](const SamplingStep& s) { return posterior_step(s.from, s.to).weight_x_t; });

  const bool learned = options.variance == ReverseVariance::learned;
  const Tensor sigma = loop.number([&](const SamplingStep& s) {
    if (s.to.is_clean()) return 0.0;  // Algorithm 2: z = 0 at the end
    if (learned) return 1.0;          // times what the network says
    const double eps2 =
        analytic ? options.mean_squared_eps[static_cast<std::size_t>(s.index)] : 1.0;
    return std::sqrt(reverse_variance(s.from, s.to, options.variance, eps2));
  });
  const Tensor log_beta = loop.number(
      [](const SamplingStep& s) { return std::log(transition(s.to, s.from).variance); });
  const Tensor log_beta_tilde = loop.number([](const SamplingStep& s) {  // at the end sigma is 0
    return s.to.is_clean() ? 0.0 : std::log(posterior_step(s.from, s.to).variance);
  });
  const Levels from = loop.level([](const SamplingStep& s) { return s.from; });

  return loop.run([&](const Tensor& x) {
    const Denoised d = loop.denoise(x);
    Tensor mean = weight_x0 * d.x0 + weight_x * x;  // eq. 7
    Tensor deviation = sigma;
    if (learned) {
      if (!d.variance.defined()) fail<ValueError>("sample_ddpm: the network learns no variance");
      deviation = sigma * exp(0.5 * learned_log_variance(d.variance, log_beta, log_beta_tilde));
    }
    if (options.shift_mean) mean = mean + square(deviation) * options.shift_mean(x, from);
    return mean + deviation * loop.noise();
  });
}

}  // namespace ito
