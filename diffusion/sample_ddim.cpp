#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "diffusion/samplers.h"
#include "tensor/check.h"

namespace ito {
namespace {

Tensor same_timestep(std::int64_t t, const Tensor& x) {
  return Tensor::full({x.size(0)}, static_cast<double>(t), DType::i64, x.device());
}

}  // namespace

Tensor sample_ddim(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                   Rng rng, const DdimOptions& options) {
  expect_floating("sample_ddim", "x_T", x_T);
  if (!(options.eta >= 0.0)) fail<ValueError>("sample_ddim: eta must be >= 0; got {}", options.eta);
  const NoGrad no_grad;
  const auto visited = evenly_spaced_timesteps(process.schedule.timesteps(), options.steps);
  const auto steps = static_cast<std::int64_t>(visited.size());

  Tensor x = x_T;
  for (std::int64_t i = steps - 1; i >= 0; --i) {
    const std::int64_t t = visited[static_cast<std::size_t>(i)];
    const std::int64_t s =
        i == 0 ? -1 : visited[static_cast<std::size_t>(i - 1)];  // goes from t to s
    const double alpha_bar = process.schedule.alpha_bar(t);
    const double alpha_bar_s = process.schedule.alpha_bar(s);
    const double sigma = options.eta * std::sqrt((1.0 - alpha_bar_s) / (1.0 - alpha_bar) *
                                                 (1.0 - alpha_bar / alpha_bar_s));  // eq. 16
    const double towards_x_t = 1.0 - alpha_bar_s - sigma * sigma;
    if (towards_x_t < 0.0) {
      fail<ValueError>("sample_ddim: eta is too large for the step from t = {} to {}; got {}", t, s,
                       options.eta);
    }

    const auto [x0, eps] = process.denoise(model, x, same_timestep(t, x), options.clip_x0);
    Tensor next = std::sqrt(alpha_bar_s) * x0 + std::sqrt(towards_x_t) * eps;  // eq. 12
    if (sigma > 0.0) {
      rng.seek(static_cast<std::uint64_t>(t) + 1, rng.first_sample());
      next = next + sigma * randn(rng, x.shape(), x.dtype(), x.device());
    }
    if (options.observer) options.observer({steps - i, steps, t, x, x0, next});
    x = next;
  }
  return x;
}

Tensor encode_ddim(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x0,
                   std::int64_t steps) {
  expect_floating("encode_ddim", "x0", x0);
  const NoGrad no_grad;
  Tensor x = x0;
  std::int64_t s = 0;  // x_0 has no timestep of its own: the network is asked at the first one
  double alpha_bar_s = 1.0;
  for (const std::int64_t t : evenly_spaced_timesteps(process.schedule.timesteps(), steps)) {
    const double alpha_bar = process.schedule.alpha_bar(t);
    const NoiseLevel here{Tensor::scalar(std::sqrt(alpha_bar_s), x.dtype(), x.device()),
                          Tensor::scalar(std::sqrt(1.0 - alpha_bar_s), x.dtype(), x.device())};
    const Tensor eps = process.denoise(model, x, same_timestep(s, x)).eps;
    x = std::sqrt(alpha_bar) * x0_from_epsilon(eps, x, here) + std::sqrt(1.0 - alpha_bar) * eps;
    s = t;
    alpha_bar_s = alpha_bar;
  }
  return x;
}

}  // namespace ito
