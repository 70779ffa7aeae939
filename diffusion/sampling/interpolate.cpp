#include "diffusion/sampling/interpolate.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"

namespace ito {
namespace {

// Of each sample: [N] on the host.
std::vector<double> inner_products(const Tensor& a, const Tensor& b) {
  const Tensor rows = reshape(a * b, Shape{a.size(0), a.numel() / a.size(0)});
  return cast(sum(rows, {1}).to(Device::cpu()), DType::f64).to_vector<double>();
}

}  // namespace

Tensor slerp(const Tensor& a, const Tensor& b, double fraction) {
  expect_floating("slerp", "a", a);
  expect_dtype("slerp", "b", b, a.dtype());
  expect_shape("slerp", "b", b, a.shape());
  const NoGrad no_grad;
  if (a.numel() == 0) return a.clone();
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
  const auto N = static_cast<std::int64_t>(ab.size());
  const auto weights = [&](const std::vector<double>& values) {
    return append_dims(cast(Tensor::from(values, {N}), a.dtype()).to(a.device()), a);
  };
  return weights(of_a) * a + weights(of_b) * b;
}

Tensor interpolate_ddpm(const Denoiser& model, const Tensor& x0, const Tensor& other,
                        double fraction, std::span<const Level> levels, Rng rng,
                        const DdpmOptions& options) {
  if (levels.empty()) fail<ValueError>("interpolate_ddpm: needs levels; got none");
  const NoGrad no_grad;
  rng.seek(0, rng.first_sample());
  const Tensor eps = randn(rng, x0.shape(), x0.dtype(), x0.device());
  const Levels noisy = same_level(levels.front(), x0);
  const Tensor mixed =
      (1.0 - fraction) * add_noise(x0, eps, noisy) + fraction * add_noise(other, eps, noisy);
  return sample_ddpm(model, mixed, levels, rng, options);
}

}  // namespace ito
