#include <cmath>

#include "autograd/ops/elementwise.h"
#include "diffusion/sampling/samplers.h"
#include "tensor/check.h"

namespace ito {

Tensor sample_ddim(const Denoiser& model, const Tensor& x_T, std::span<const Level> levels, Rng rng,
                   const DdimOptions& options) {
  SamplingLoop loop("sample_ddim", model, x_T, levels, std::move(rng), options.loop);
  const bool analytic = !options.mean_squared_eps.empty();
  if (!(options.eta >= 0.0)) fail<ValueError>("sample_ddim: eta must be >= 0; got {}", options.eta);
  if (analytic && options.mean_squared_eps.size() != levels.size() - 1) {
    fail<ValueError>("sample_ddim: mean_squared_eps must have {} numbers, one per step; got {}",
                     levels.size() - 1, options.mean_squared_eps.size());
  }
  const auto deviation = [&](const SamplingStep& s) {  // eq. 16
    return options.eta * std::sqrt(posterior_step(s.from, s.to).variance);
  };
  const Tensor weight_x0 = loop.number([](const SamplingStep& s) { return s.to.alpha; });
  const Tensor weight_eps = loop.number([&](const SamplingStep& s) {
    const double towards_x = s.to.sigma * s.to.sigma - deviation(s) * deviation(s);
    if (towards_x < 0.0) {
      fail<ValueError>("sample_ddim: eta is too large for the step from time {} to {}; got {}",
                       s.from.time, s.to.time, options.eta);
    }
    return std::sqrt(towards_x);
  });
  const Tensor sigma = loop.number([&](const SamplingStep& s) {
    if (!analytic || s.to.is_clean()) return deviation(s);
    return std::sqrt(
        analytic_variance(s.from, s.to, deviation(s) * deviation(s),
                          options.mean_squared_eps[static_cast<std::size_t>(s.index)]));
  });
  return loop.run([&](const Tensor& x) {
    const Denoised d = loop.denoise(x);
    const Tensor mean = weight_x0 * d.x0 + weight_eps * d.eps;  // eq. 12
    return options.eta > 0.0 || analytic ? mean + sigma * loop.noise() : mean;
  });
}

Tensor encode_ddim(const Denoiser& model, const Tensor& x0, std::span<const Level> levels,
                   const SamplingOptions& options) {
  const std::vector<Level> rising(levels.rbegin(), levels.rend());
  SamplingLoop loop("encode_ddim", model, x0, rising, Rng(0), options);
  // No network knows clean images: these are shown to it as images of the level after.
  const Levels asked =
      loop.level([](const SamplingStep& s) { return s.from.is_clean() ? s.to : s.from; });
  const Tensor per_alpha = loop.number([](const SamplingStep& s) { return 1.0 / s.from.alpha; });
  const Tensor sigma = loop.number([](const SamplingStep& s) { return s.from.sigma; });
  const Tensor next_alpha = loop.number([](const SamplingStep& s) { return s.to.alpha; });
  const Tensor next_sigma = loop.number([](const SamplingStep& s) { return s.to.sigma; });
  return loop.run([&](const Tensor& x) {
    const Tensor eps = loop.denoise(x, asked).eps;
    const Tensor x0_hat = per_alpha * (x - sigma * eps);  // where x is clean that is x
    return next_alpha * x0_hat + next_sigma * eps;
  });
}

}  // namespace ito
