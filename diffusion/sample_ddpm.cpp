#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "diffusion/samplers.h"
#include "tensor/check.h"

namespace ito {

Tensor sample_ddpm(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                   Rng rng, const DdpmOptions& options) {
  expect_floating("sample_ddpm", "x_T", x_T);
  const NoGrad no_grad;
  const std::int64_t T = process.schedule.timesteps();
  const auto visited = evenly_spaced_timesteps(T, options.steps == 0 ? T : options.steps);
  const auto steps = static_cast<std::int64_t>(visited.size());

  Tensor x = x_T;
  for (std::int64_t i = steps - 1; i >= 0; --i) {
    const std::int64_t t = visited[static_cast<std::size_t>(i)];
    const std::int64_t s =
        i == 0 ? -1 : visited[static_cast<std::size_t>(i - 1)];  // goes from t to s
    const double alpha_bar = process.schedule.alpha_bar(t);
    const double alpha_bar_s = process.schedule.alpha_bar(s);
    const double alpha = alpha_bar / alpha_bar_s;
    const double beta = 1.0 - alpha;
    const double beta_tilde = beta * (1.0 - alpha_bar_s) / (1.0 - alpha_bar);  // eq. 7

    const Tensor t_of_each =
        Tensor::full({x.size(0)}, static_cast<double>(t), DType::i64, x.device());
    const Tensor x0 = process.denoise(model, x, t_of_each, options.clip_x0).x0;
    Tensor next = std::sqrt(alpha_bar_s) * beta / (1.0 - alpha_bar) * x0 +  // mu, eq. 7
                  std::sqrt(alpha) * (1.0 - alpha_bar_s) / (1.0 - alpha_bar) * x;
    if (i > 0) {  // z = 0 at the last step (Algorithm 2, line 3)
      const double variance = options.variance == ReverseVariance::beta ? beta : beta_tilde;
      rng.seek(static_cast<std::uint64_t>(t) + 1, rng.first_sample());
      next = next + std::sqrt(variance) * randn(rng, x.shape(), x.dtype(), x.device());
    }
    if (options.observer) options.observer({steps - i, steps, t, x, x0, next});
    x = next;
  }
  return x;
}

}  // namespace ito
