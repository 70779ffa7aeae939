// Data x_0 ~ N(0, s^2 I): the case in which everything about diffusion is known in closed form.
//
// The marginal of x_t is N(0, V_t) with V_t = alpha_bar_t s^2 + 1 - alpha_bar_t, and the best
// denoiser is linear in x_t. It stands in for a trained network.
#pragma once

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "tests/oracles/chain.h"

namespace ito::test {

/// Variance of x_t, for a signal that keeps alpha_bar of its power.
inline double marginal_variance(double alpha_bar, double s2) {
  return alpha_bar * s2 + 1.0 - alpha_bar;
}

/// By E[x_0 | x_t] and E[eps | x_t], put out as what `process.prediction` asks for.
inline Denoiser exact_denoiser(const Chain& process, double s2) {
  return [p = process.parametrization(), s2](const Tensor& x_t, const Levels& levels) {
    const Tensor per_variance = x_t / (square(levels.alpha) * s2 + square(levels.sigma));
    const Tensor output =
        p.target(levels.alpha * s2 * per_variance, levels.sigma * per_variance, levels);
    return p.denoised(output, x_t, levels);
  };
}

/// 0, 1, ..., T - 1 as a tensor.
inline Tensor all_timesteps(const NoiseSchedule& schedule) {
  std::vector<std::int64_t> t(static_cast<std::size_t>(schedule.timesteps()));
  for (std::size_t i = 0; i < t.size(); ++i) t[i] = static_cast<std::int64_t>(i);
  return Tensor::from(t, {schedule.timesteps()});
}

}  // namespace ito::test
