#include "diffusion/denoiser/prediction.h"

#include "autograd/ops/elementwise.h"
#include "tensor/error.h"

namespace ito {

bool needs_signal(Prediction prediction) {
  return prediction == Prediction::epsilon || prediction == Prediction::score;
}

Tensor x0_from_epsilon(const Tensor& eps, const Tensor& x, const Levels& levels) {
  return (x - levels.sigma * eps) / levels.alpha;
}

Tensor epsilon_from_x0(const Tensor& x0, const Tensor& x, const Levels& levels) {
  return (x - levels.alpha * x0) / levels.sigma;
}

Tensor standard_deviation(const Levels& levels, double sigma_data) {
  return sqrt(square(levels.sigma) + square(sigma_data * levels.alpha));
}

SignalAndNoise to_x0_eps(Prediction prediction, const Tensor& output, const Tensor& x,
                         const Levels& levels, double sigma_data) {
  const auto& [time, alpha, sigma] = levels;
  switch (prediction) {
    case Prediction::epsilon:
      return {x0_from_epsilon(output, x, levels), output};
    case Prediction::x0:
      return {output, epsilon_from_x0(output, x, levels)};
    case Prediction::v:  // (x, v) is (x_0, eps) turned by the angle with cosine alpha, sine sigma
      return {alpha * x - sigma * output, sigma * x + alpha * output};
    case Prediction::score: {
      const Tensor eps = -sigma * output;
      return {x0_from_epsilon(eps, x, levels), eps};
    }
    case Prediction::edm: {  // x0 = c_skip x + c_out F, for x / alpha at the level sigma / alpha
      const Tensor n = standard_deviation(levels, sigma_data);
      return {
          sigma_data * sigma_data * alpha * x / square(n) + sigma_data * sigma * output / n,
          sigma * x / square(n) - sigma_data * alpha * output / n,
      };
    }
    case Prediction::flow:  // x and eps - x_0 are two equations in x_0 and eps
      break;
  }
  return {(x - sigma * output) / (alpha + sigma), (x + alpha * output) / (alpha + sigma)};
}

Tensor target(Prediction prediction, const Tensor& x0, const Tensor& eps, const Levels& levels,
              double sigma_data) {
  const auto& [time, alpha, sigma] = levels;
  switch (prediction) {
    case Prediction::epsilon:
      return eps;
    case Prediction::x0:
      return x0;
    case Prediction::v:
      return alpha * eps - sigma * x0;
    case Prediction::score:
      return -eps / sigma;
    case Prediction::edm:
      return (sigma / sigma_data * x0 - sigma_data * alpha * eps) /
             standard_deviation(levels, sigma_data);
    case Prediction::flow:
      break;
  }
  return eps - x0;
}

}  // namespace ito
