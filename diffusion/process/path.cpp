#include "diffusion/process/path.h"

#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "tensor/check.h"

namespace ito {
namespace {

void expect_rising(const char* path, const char* what, double low, double high) {
  if (0.0 < low && low < high && std::isfinite(high)) return;
  fail<ValueError>("Path::{}: needs 0 < {}_min < {}_max; got {} and {}", path, what, what, low,
                   high);
}

// 1 - exp(-x), with all digits where x is small.
template <class T>
T one_minus_exp(const T& x) {
  using std::tanh;
  const T h = tanh(0.5 * x);
  return 2.0 * h / (1.0 + h);
}

}  // namespace

Path::Path(double min_time, double max_time) : min_time_(min_time), max_time_(max_time) {
  if (0.0 <= min_time && min_time < max_time && std::isfinite(max_time)) return;
  fail<ValueError>("Path: needs 0 <= min_time < max_time; got {} and {}", min_time, max_time);
}

Path Path::vp(double beta_min, double beta_max) {
  expect_rising("vp", "beta", beta_min, beta_max);
  return of(1e-3, 1.0, [=](const auto& t) {
    using std::exp, std::sqrt;
    const auto integral = t * (beta_min + 0.5 * (beta_max - beta_min) * t);
    return std::pair{exp(-0.5 * integral), sqrt(one_minus_exp(integral))};
  });
}

Path Path::sub_vp(double beta_min, double beta_max) {
  expect_rising("sub_vp", "beta", beta_min, beta_max);
  return of(1e-3, 1.0, [=](const auto& t) {
    using std::exp;
    const auto integral = t * (beta_min + 0.5 * (beta_max - beta_min) * t);
    return std::pair{exp(-0.5 * integral), one_minus_exp(integral)};
  });
}

Path Path::ve(double sigma_min, double sigma_max) {
  expect_rising("ve", "sigma", sigma_min, sigma_max);
  return of(0.0, 1.0, [=](const auto& t) {
    using std::exp;
    return std::pair{0.0 * t + 1.0, sigma_min * exp(std::log(sigma_max / sigma_min) * t)};
  });
}

Path Path::edm(double sigma_min, double sigma_max, double log_mean, double log_stddev) {
  expect_rising("edm", "sigma", sigma_min, sigma_max);
  Path path = of(sigma_min, sigma_max, [](const auto& sigma) {
    return std::pair{0.0 * sigma + 1.0, 1.0 * sigma};
  });
  path.draw_ = [=](const Tensor& normal) { return exp(log_mean + log_stddev * normal); };
  return path;
}

Path Path::rectified_flow(double t_min) {
  if (!(0.0 < t_min && t_min < 1.0)) {
    fail<ValueError>("Path::rectified_flow: t_min must be in (0, 1); got {}", t_min);
  }
  return of(t_min, 1.0, [](const auto& t) { return std::pair{1.0 - t, 1.0 * t}; });
}

Level Path::level(double time) const {
  if (!(time >= 0.0 && std::isfinite(time))) {
    fail<ValueError>("Path: time must be at least 0; got {}", time);
  }
  const auto [alpha, sigma] = at_(time);
  if (!(alpha >= 0.0)) fail<ValueError>("Path: time {} lies beyond its end", time);
  return {time, alpha, sigma};
}

Levels Path::levels(const Tensor& time, const Tensor& x) const {
  expect_defined("levels", "x", x);
  expect_floating("levels", "x", x);
  expect_dtype("levels", "time", time, x.dtype());
  expect_shape("levels", "time", time, {x.size(0)});
  const auto [alpha, sigma] = of_each_(time);
  return {time, append_dims(alpha, x), append_dims(sigma, x)};
}

Level Path::level_at(double noise_to_signal) const {
  if (!(noise_to_signal > 0.0)) {
    fail<ValueError>("level_at: the ratio of noise to signal must be positive; got {}",
                     noise_to_signal);
  }
  double low = min_time_, high = max_time_;
  if (level(low).noise_to_signal() >= noise_to_signal) return level(low);
  if (level(high).noise_to_signal() <= noise_to_signal) return level(high);
  for (int i = 0; i < 200 && std::nextafter(low, high) < high; ++i) {
    const double middle = 0.5 * (low + high);
    (level(middle).noise_to_signal() <= noise_to_signal ? low : high) = middle;
  }
  return level(low);
}

Tensor Path::draw_times(Rng& rng, std::int64_t n, DType dtype, Device device) const {
  const NoGrad no_grad;
  if (draw_) return draw_(randn(rng, {n}, dtype, device));
  return min_time_ + (max_time_ - min_time_) * rand(rng, {n}, dtype, device);
}

}  // namespace ito
