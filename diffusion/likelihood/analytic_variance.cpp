#include "diffusion/likelihood/analytic_variance.h"

#include <cmath>
#include <numbers>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"

namespace ito {
namespace {

// The mean of f(eps, eps_hat) at each noisy level.
template <class F>
std::vector<double> mean_by_level(const Denoiser& model, const Tensor& x0,
                                  std::span<const Level> levels, Rng rng, F f) {
  const NoGrad no_grad;
  const std::uint64_t first_sample = rng.first_sample();
  std::vector<double> means;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    if (levels[i].is_clean()) continue;
    rng.seek(i + 1, first_sample);
    const Levels at = same_level(levels[i], x0);
    const Tensor eps = randn(rng, x0.shape(), x0.dtype(), x0.device());
    means.push_back(mean(f(eps, model(add_noise(x0, eps, at), at).eps)).item());
  }
  return means;
}

}  // namespace

std::vector<double> mean_squared_eps(const Denoiser& model, const Tensor& x0,
                                     std::span<const Level> levels, Rng rng) {
  return mean_by_level(model, x0, levels, rng,
                       [](const Tensor&, const Tensor& eps_hat) { return square(eps_hat); });
}

std::vector<double> explained_noise(const Denoiser& model, const Tensor& x0,
                                    std::span<const Level> levels, Rng rng) {
  return mean_by_level(model, x0, levels, rng, [](const Tensor& eps, const Tensor& eps_hat) {
    return 1.0 - square(eps - eps_hat);
  });
}

double max_variance_of_last_noise() {
  const double sigma = 2.0 * (2.0 / 255.0) * std::sqrt(std::numbers::pi / 2.0);
  return sigma * sigma;
}

}  // namespace ito
