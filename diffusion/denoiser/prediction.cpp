#include "diffusion/denoiser/prediction.h"

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
    case Prediction::score:
      return "score";
    case Prediction::edm:
      return "edm";
    case Prediction::flow:
      return "flow";
  }
  return "?";
}

Prediction prediction_from_name(const std::string& name) {
  for (const auto p : {Prediction::epsilon, Prediction::x0, Prediction::v, Prediction::score,
                       Prediction::edm, Prediction::flow}) {
    if (name == name_of(p)) return p;
  }
  fail<ValueError>("prediction: must be epsilon, x0, v, score, edm or flow; got \"{}\"", name);
}

bool needs_signal(Prediction prediction) {
  return prediction == Prediction::epsilon || prediction == Prediction::score;
}

SignalAndNoise explain(Prediction kind, const Tensor& output, const Tensor& x_t,
                       const NoiseLevel& level, double sigma_data) {
  switch (kind) {
    case Prediction::epsilon:
      return {x0_from_epsilon(output, x_t, level), output};
    case Prediction::x0:
      return {output, epsilon_from_x0(output, x_t, level)};
    case Prediction::v:
      return {x0_from_v(output, x_t, level), epsilon_from_v(output, x_t, level)};
    case Prediction::score:
      return {x0_from_score(output, x_t, level), epsilon_from_score(output, level)};
    case Prediction::edm:
      return {x0_from_edm(output, x_t, level, sigma_data),
              epsilon_from_edm(output, x_t, level, sigma_data)};
    case Prediction::flow:
      break;
  }
  return {x0_from_flow(output, x_t, level), epsilon_from_flow(output, x_t, level)};
}

Tensor output_for(Prediction kind, const SignalAndNoise& x, const NoiseLevel& level,
                  double sigma_data) {
  switch (kind) {
    case Prediction::epsilon:
      return x.eps;
    case Prediction::x0:
      return x.x0;
    case Prediction::v:
      return v_from_x0_epsilon(x.x0, x.eps, level);
    case Prediction::score:
      return score_from_epsilon(x.eps, level);
    case Prediction::edm:
      return edm_from_x0_epsilon(x.x0, x.eps, level, sigma_data);
    case Prediction::flow:
      break;
  }
  return x.eps - x.x0;
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

// x_t and eps - x_0 are two equations in x_0 and eps.

Tensor x0_from_flow(const Tensor& flow, const Tensor& x_t, const NoiseLevel& level) {
  return (x_t - level.sigma * flow) / (level.alpha + level.sigma);
}

Tensor epsilon_from_flow(const Tensor& flow, const Tensor& x_t, const NoiseLevel& level) {
  return (x_t + level.alpha * flow) / (level.alpha + level.sigma);
}

// With n = sqrt(sigma^2 + alpha^2 sigma_data^2), the standard deviation of x_t,
// F = (sigma / sigma_data x_0 - alpha sigma_data eps) / n.

namespace {

Tensor deviation(const NoiseLevel& level, double sigma_data) {
  return sqrt(square(level.sigma) + square(sigma_data * level.alpha));
}

}  // namespace

Tensor x0_from_edm(const Tensor& f, const Tensor& x_t, const NoiseLevel& level, double sigma_data) {
  const Tensor n = deviation(level, sigma_data);
  return sigma_data * sigma_data * level.alpha * x_t / square(n) + sigma_data * level.sigma * f / n;
}

Tensor epsilon_from_edm(const Tensor& f, const Tensor& x_t, const NoiseLevel& level,
                        double sigma_data) {
  const Tensor n = deviation(level, sigma_data);
  return level.sigma * x_t / square(n) - sigma_data * level.alpha * f / n;
}

Tensor edm_from_x0_epsilon(const Tensor& x0, const Tensor& eps, const NoiseLevel& level,
                           double sigma_data) {
  return (level.sigma / sigma_data * x0 - sigma_data * level.alpha * eps) /
         deviation(level, sigma_data);
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
