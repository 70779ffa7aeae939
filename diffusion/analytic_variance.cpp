#include "diffusion/analytic_variance.h"

#include <cmath>
#include <numbers>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"

namespace ito {

std::vector<double> mean_squared_eps(const GaussianDiffusion& process, const Denoiser& model,
                                     const Tensor& x0, Rng rng) {
  const NoGrad no_grad;
  const std::uint64_t first_sample = rng.first_sample();
  std::vector<double> by_timestep;
  for (std::int64_t i = 0; i < process.schedule.timesteps(); ++i) {
    rng.seek(static_cast<std::uint64_t>(i) + 1, first_sample);
    const Tensor t = Tensor::full({x0.size(0)}, static_cast<double>(i), DType::i64, x0.device());
    const Tensor eps = randn(rng, x0.shape(), x0.dtype(), x0.device());
    const Tensor eps_hat = process.denoise(model, process.add_noise(x0, t, eps), t).eps;
    by_timestep.push_back(mean(square(eps_hat)).item());
  }
  return by_timestep;
}

double most_variance_of_last_noise() {
  const double sigma = 2.0 * (2.0 / 255.0) * std::sqrt(std::numbers::pi / 2.0);
  return sigma * sigma;
}

}  // namespace ito
