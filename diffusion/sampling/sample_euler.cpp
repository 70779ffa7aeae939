#include "autograd/ops/elementwise.h"
#include "diffusion/sampling/samplers.h"

namespace ito {

Tensor sample_euler(const Denoiser& model, const Tensor& x_T, std::span<const Level> levels,
                    const SamplingOptions& options) {
  SamplingLoop loop("sample_euler", model, x_T, levels, Rng(0), options);
  const Tensor alpha = loop.number([](const SamplingStep& s) { return s.to.alpha; });
  const Tensor sigma_bar =
      loop.number([](const SamplingStep& s) { return s.to.noise_to_signal(); });
  return loop.run([&](const Tensor& x) {
    const Denoised d = loop.denoise(x);
    // x_bar_s = x_bar_t + (sigma_bar_s - sigma_bar_t) eps, with x_bar_t = x_0 + sigma_bar_t eps.
    return alpha * (d.x0 + sigma_bar * d.eps);
  });
}

}  // namespace ito
