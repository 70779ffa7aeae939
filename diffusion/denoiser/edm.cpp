#include "diffusion/denoiser/edm.h"

#include <numeric>
#include <vector>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"

namespace ito {
namespace {

// x = 1 x0 + sigma eps: sigma [N] as [N, 1, ..., 1].
NoiseLevel variance_exploding(const Tensor& sigma, const Tensor& x) {
  expect_floating("edm", "x", x);
  if (x.rank() < 1) fail<ShapeError>("edm: x must be [N, ...]; got {}", x.str());
  expect_shape("edm", "sigma", sigma, {x.size(0)});
  std::vector<std::int64_t> shape(static_cast<std::size_t>(x.rank()), 1);
  shape[0] = x.size(0);
  return {Tensor::scalar(1.0, x.dtype(), x.device()), reshape(sigma, shape)};
}

}  // namespace

Tensor Edm::output(const NoiseNetwork& F, const Tensor& x, const Tensor& sigma) const {
  const Tensor c_in = rsqrt(square(variance_exploding(sigma, x).sigma) + sigma_data * sigma_data);
  return F(c_in * x, log(sigma) / 4.0);
}

Tensor Edm::denoise(const NoiseNetwork& F, const Tensor& x, const Tensor& sigma) const {
  return x0_from_edm(output(F, x, sigma), x, variance_exploding(sigma, x), sigma_data);
}

Tensor Edm::target(const Tensor& x0, const Tensor& sigma, const Tensor& eps) const {
  return edm_from_x0_epsilon(x0, eps, variance_exploding(sigma, x0), sigma_data);
}

Tensor Edm::losses(const NoiseNetwork& F, const Tensor& x0, const Tensor& sigma,
                   const Tensor& eps) const {
  expect_shape("edm", "eps", eps, x0.shape());
  const Tensor x = x0 + variance_exploding(sigma, x0).sigma * eps;
  const Tensor error = square(output(F, x, sigma) - target(x0, sigma, eps));
  std::vector<int> inner(static_cast<std::size_t>(x0.rank() - 1));
  std::iota(inner.begin(), inner.end(), 1);
  return inner.empty() ? error : mean(error, inner);
}

Tensor Edm::draw_sigma(Rng& rng, std::int64_t n, DType dtype, Device device) const {
  return exp(log_mean + log_stddev * randn(rng, {n}, dtype, device));
}

Denoiser edm_denoiser(const Edm& edm, const NoiseNetwork& F, const NoiseSchedule& schedule) {
  return [edm, F, process = GaussianDiffusion{schedule}](const Tensor& x_t, const Tensor& t) {
    const NoiseLevel level = process.noise_level(t, x_t);
    return edm.output(F, x_t / level.alpha, reshape(level.sigma / level.alpha, t.shape()));
  };
}

}  // namespace ito
