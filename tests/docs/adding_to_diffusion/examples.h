// The worked examples of docs/adding_to_diffusion.md, which shows this code letter by letter.
#pragma once

#include <cmath>
#include <functional>
#include <span>
#include <utility>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "diffusion/diffusion.h"
#include "nn/layers.h"

namespace ito::example {

// A sampler: the implicit midpoint of two estimates, of second order.
inline Tensor sample_midpoint(const Denoiser& model, const Tensor& x_T,
                              std::span<const Level> levels,
                              const std::function<Level(double noise_to_signal)>& level_at,
                              const SamplingOptions& options = {}) {
  SamplingLoop loop("sample_midpoint", model, x_T, levels, Rng(0), options);
  // The level of the process half way in log(sigma / alpha).
  const auto half = [&](const SamplingStep& s) {
    if (s.to.is_clean()) return s.from;  // the last step needs none
    return level_at(std::sqrt(s.from.noise_to_signal() * s.to.noise_to_signal()));
  };
  const Levels at_half = loop.level(half);
  const Tensor half_sigma =
      loop.number([&](const SamplingStep& s) { return half(s).noise_to_signal(); });
  const Tensor per_alpha = loop.number([](const SamplingStep& s) { return 1.0 / s.from.alpha; });
  const Tensor alpha = loop.number([](const SamplingStep& s) { return s.to.alpha; });
  const Tensor step = loop.number(
      [](const SamplingStep& s) { return s.to.noise_to_signal() - s.from.noise_to_signal(); });
  const auto update = [&](const Tensor& x) {
    const Denoised d = loop.denoise(x);
    const Tensor middle = at_half.alpha * (d.x0 + half_sigma * d.eps);
    return alpha * (per_alpha * x + step * loop.denoise(middle, at_half).eps);
  };
  const auto to_x0 = [&](const Tensor& x) { return loop.denoise(x).x0; };
  return loop.run(update, to_x0);
}

// A path: alpha = cos(pi t / 2), sigma = sin(pi t / 2), for a number and for a tensor of times.
inline Path trigonometric_path() {
  return Path::of(1e-3, 0.999, [](const auto& t) {
    using std::cos, std::sin;
    const double quarter = std::acos(0.0);
    return std::pair{cos(quarter * t), sin(quarter * t)};
  });
}

// A prediction: the network puts out alpha x0, the signal at the strength that it has in x.
inline Denoiser signal_denoiser(const Network& network) {
  return [network](const Tensor& x, const Levels& levels) {
    const Tensor signal = network(x, levels.time);
    return Denoised{signal / levels.alpha, (x - signal) / levels.sigma, {}};
  };
}

// A network with a condition: a linear map of the points, the time and the class.
struct TinyNetwork {
  nn::Linear from_x, from_class;

  explicit TinyNetwork(Rng& init) : from_x(3, 2, init), from_class(4, 2, init) {}

  Tensor operator()(const Tensor& x, const Tensor& time, const Condition& condition = {}) const {
    const Tensor t = reshape(cast_time(time, x), Shape{x.size(0), 1});
    Tensor y = from_x(concat({x, 0.001 * t}, 1));
    if (condition.labels.defined()) y = y + from_class(one_hot(condition.labels, 4, x.dtype()));
    return y;
  }

  template <class V>
  void visit(V&& v) {
    v("from_x", from_x);
    v("from_class", from_class);
  }

 private:
  static Tensor cast_time(const Tensor& time, const Tensor& x) { return cast(time, x.dtype()); }
};

}  // namespace ito::example
