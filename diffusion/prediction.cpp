#include "diffusion/prediction.h"

#include "autograd/ops/elementwise.h"
#include "tensor/error.h"

namespace ito {

const char* name_of(Prediction prediction) {
  switch (prediction) {
    case Prediction::epsilon:
      return "epsilon";
    case Prediction::x0:
      return "x0";
    case Prediction::v:
      return "v";
  }
  return "?";
}

Prediction prediction_from_name(const std::string& name) {
  for (const auto p : {Prediction::epsilon, Prediction::x0, Prediction::v}) {
    if (name == name_of(p)) return p;
  }
  fail<ValueError>("prediction: must be epsilon, x0 or v; got \"{}\"", name);
}

// x_t = alpha x_0 + sigma eps, solved for one of the two.

Tensor x0_from_epsilon(const Tensor& eps, const Tensor& x_t, const NoiseLevel& level) {
  return (x_t - level.sigma * eps) / level.alpha;
}

Tensor epsilon_from_x0(const Tensor& x0, const Tensor& x_t, const NoiseLevel& level) {
  return (x_t - level.alpha * x0) / level.sigma;
}

// (x_t, v) is (x_0, eps) turned by the angle whose cosine is alpha and whose sine is sigma.

Tensor x0_from_v(const Tensor& v, const Tensor& x_t, const NoiseLevel& level) {
  return level.alpha * x_t - level.sigma * v;
}

Tensor epsilon_from_v(const Tensor& v, const Tensor& x_t, const NoiseLevel& level) {
  return level.sigma * x_t + level.alpha * v;
}

Tensor v_from_x0_epsilon(const Tensor& x0, const Tensor& eps, const NoiseLevel& level) {
  return level.alpha * eps - level.sigma * x0;
}

Tensor v_from_epsilon(const Tensor& eps, const Tensor& x_t, const NoiseLevel& level) {
  return (eps - level.sigma * x_t) / level.alpha;
}

Tensor v_from_x0(const Tensor& x0, const Tensor& x_t, const NoiseLevel& level) {
  return (level.alpha * x_t - x0) / level.sigma;
}

// score = -eps / sigma.

Tensor score_from_epsilon(const Tensor& eps, const NoiseLevel& level) { return -eps / level.sigma; }

Tensor epsilon_from_score(const Tensor& score, const NoiseLevel& level) {
  return -level.sigma * score;
}

Tensor x0_from_score(const Tensor& score, const Tensor& x_t, const NoiseLevel& level) {
  return x0_from_epsilon(epsilon_from_score(score, level), x_t, level);
}

Tensor v_from_score(const Tensor& score, const Tensor& x_t, const NoiseLevel& level) {
  return v_from_epsilon(epsilon_from_score(score, level), x_t, level);
}

Tensor score_from_x0(const Tensor& x0, const Tensor& x_t, const NoiseLevel& level) {
  return score_from_epsilon(epsilon_from_x0(x0, x_t, level), level);
}

Tensor score_from_v(const Tensor& v, const Tensor& x_t, const NoiseLevel& level) {
  return score_from_epsilon(epsilon_from_v(v, x_t, level), level);
}

}  // namespace ito
