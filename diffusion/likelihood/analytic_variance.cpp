#include "diffusion/likelihood/analytic_variance.h"

#include <cmath>
#include <numbers>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"

namespace ito {

namespace {

// The mean of f(eps, eps_hat) at every timestep.
template <class F>
std::vector<double> by_timestep(const GaussianDiffusion& process, const Denoiser& model,
                                const Tensor& x0, Rng rng, F f) {
  const NoGrad no_grad;
  const std::uint64_t first_sample = rng.first_sample();
  std::vector<double> means;
  for (std::int64_t i = 0; i < process.schedule.timesteps(); ++i) {
    rng.seek(static_cast<std::uint64_t>(i) + 1, first_sample);
    const Tensor t = Tensor::full({x0.size(0)}, static_cast<double>(i), DType::i64, x0.device());
    const Tensor eps = randn(rng, x0.shape(), x0.dtype(), x0.device());
    const Tensor eps_hat = process.denoise(model, process.add_noise(x0, t, eps), t).eps;
    means.push_back(mean(f(eps, eps_hat)).item());
  }
  return means;
}

}  // namespace

std::vector<double> mean_squared_eps(const GaussianDiffusion& process, const Denoiser& model,
                                     const Tensor& x0, Rng rng) {
  return by_timestep(process, model, x0, rng,
                     [](const Tensor&, const Tensor& eps_hat) { return square(eps_hat); });
}

std::vector<double> explained_noise(const GaussianDiffusion& process, const Denoiser& model,
                                    const Tensor& x0, Rng rng) {
  return by_timestep(process, model, x0, rng, [](const Tensor& eps, const Tensor& eps_hat) {
    return 1.0 - square(eps - eps_hat);
  });
}

double most_variance_of_last_noise() {
  const double sigma = 2.0 * (2.0 / 255.0) * std::sqrt(std::numbers::pi / 2.0);
  return sigma * sigma;
}

}  // namespace ito
