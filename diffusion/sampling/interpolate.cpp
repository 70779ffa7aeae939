#include "diffusion/sampling/interpolate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"

namespace ito {
namespace {

// Of each sample: [N] on the host.
std::vector<double> inner_products(const Tensor& a, const Tensor& b) {
  const Tensor rows = reshape(a * b, Shape{a.size(0), a.numel() / a.size(0)});
  return convert(sum(rows, {1}).to(Device::cpu()), DType::f64).to_vector<double>();
}

}  // namespace

Tensor slerp(const Tensor& a, const Tensor& b, double fraction) {
  expect_floating("slerp", "a", a);
  expect_dtype("slerp", "b", b, a.dtype());
  expect_shape("slerp", "b", b, a.shape());
  const NoGrad no_grad;
  if (fraction == 0.0 || fraction == 1.0) return (fraction == 0.0 ? a : b).clone();
  const auto ab = inner_products(a, b), aa = inner_products(a, a), bb = inner_products(b, b);
  std::vector<double> of_a, of_b;
  for (std::size_t n = 0; n < ab.size(); ++n) {
    const double theta = std::acos(std::clamp(ab[n] / std::sqrt(aa[n] * bb[n]), -1.0, 1.0));
    const double s = std::sin(theta);
    if (theta > 3.0 && s < 1e-6) {
      fail<ValueError>("slerp: sample {} of a and b are opposite; there is no shortest way", n);
    }
    const bool line = !(s > 1e-6);  // also where one of the two is 0
    of_a.push_back(line ? 1.0 - fraction : std::sin((1.0 - fraction) * theta) / s);
    of_b.push_back(line ? fraction : std::sin(fraction * theta) / s);
  }
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(a.rank()), 1);
  sizes[0] = a.size(0);
  const Shape shape(sizes);
  const auto weights = [&](const std::vector<double>& values) {
    return convert(Tensor::from(values, shape), a.dtype()).to(a.device());
  };
  return weights(of_a) * a + weights(of_b) * b;
}

Tensor interpolate_ddpm(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x0,
                        const Tensor& other, double fraction, std::int64_t t, Rng rng,
                        const DdpmOptions& options) {
  const NoGrad no_grad;
  // The first t + 1 timesteps alone are a process that ends at x_t.
  process.schedule.beta(t);  // refuses a t outside
  std::vector<std::int64_t> up_to_t(static_cast<std::size_t>(t + 1));
  std::iota(up_to_t.begin(), up_to_t.end(), 0);
  GaussianDiffusion head = process;
  head.schedule = process.schedule.respaced(up_to_t);
  rng.seek(0, rng.first_sample());
  const Tensor eps = randn(rng, x0.shape(), x0.dtype(), x0.device());
  const Tensor time = same_timestep(t, x0);
  const Tensor mixed = (1.0 - fraction) * head.add_noise(x0, time, eps) +
                       fraction * head.add_noise(other, time, eps);
  return sample_ddpm(head, model, mixed, rng, options);
}

}  // namespace ito
