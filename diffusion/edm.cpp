#include "diffusion/edm.h"

#include <numeric>
#include <vector>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"

namespace ito {
namespace {

// sigma [N] as [N, 1, ..., 1].
Tensor per_sample(const char* op, const Tensor& sigma, const Tensor& x) {
  expect_floating(op, "x", x);
  if (x.rank() < 1) fail<ShapeError>("{}: x must be [N, ...]; got {}", op, x.str());
  expect_shape(op, "sigma", sigma, {x.size(0)});
  std::vector<std::int64_t> shape(static_cast<std::size_t>(x.rank()), 1);
  shape[0] = x.size(0);
  return reshape(sigma, shape);
}

Tensor mean_per_sample(const Tensor& x) {
  std::vector<int> inner(static_cast<std::size_t>(x.rank() - 1));
  std::iota(inner.begin(), inner.end(), 1);
  return inner.empty() ? x : mean(x, inner);
}

}  // namespace

EdmScaling Edm::scaling(const Tensor& sigma, const Tensor& x) const {
  const Tensor s = per_sample("edm", sigma, x);
  const double data = sigma_data * sigma_data;
  const Tensor in = rsqrt(square(s) + data);
  return {data * square(in), sigma_data * s * in, in, log(sigma) / 4.0};
}

Tensor Edm::denoise(const NoiseNetwork& F, const Tensor& x, const Tensor& sigma) const {
  const EdmScaling c = scaling(sigma, x);
  return c.skip * x + c.out * F(c.in * x, c.noise);
}

// (x0 - c_skip (x0 + sigma eps)) / c_out without the difference, which loses digits at small sigma.
Tensor Edm::target(const Tensor& x0, const Tensor& sigma, const Tensor& eps) const {
  const Tensor s = per_sample("edm", sigma, x0);
  return scaling(sigma, x0).in * (s * x0 / sigma_data - sigma_data * eps);
}

Tensor Edm::losses(const NoiseNetwork& F, const Tensor& x0, const Tensor& sigma,
                   const Tensor& eps) const {
  expect_shape("edm", "eps", eps, x0.shape());
  const EdmScaling c = scaling(sigma, x0);
  const Tensor x = x0 + per_sample("edm", sigma, x0) * eps;
  return mean_per_sample(square(F(c.in * x, c.noise) - target(x0, sigma, eps)));
}

Tensor Edm::draw_sigma(Rng& rng, std::int64_t n, DType dtype, Device device) const {
  return exp(log_mean + log_stddev * randn(rng, {n}, dtype, device));
}

Denoiser edm_denoiser(const Edm& edm, const NoiseNetwork& F, const NoiseSchedule& schedule) {
  return [edm, F, process = GaussianDiffusion{schedule}](const Tensor& x_t, const Tensor& t) {
    const NoiseLevel level = process.noise_level(t, x_t);
    const Tensor sigma = reshape(level.sigma / level.alpha, t.shape());
    return edm.denoise(F, x_t / level.alpha, sigma);
  };
}

}  // namespace ito
