#include "tests/oracles/gaussian_mixture.h"

#include <numbers>

namespace ito::oracle {

GaussianMixture GaussianMixture::gaussian(double mean, double variance, std::int64_t d) {
  const auto n = static_cast<std::size_t>(d);
  return {{1.0}, {std::vector<double>(n, mean)}, {std::vector<double>(n, variance)}};
}

GaussianMixture GaussianMixture::component(std::size_t k) const {
  return {{1.0}, {means.at(k)}, {variances.at(k)}};
}

std::vector<double> GaussianMixture::mean() const {
  std::vector<double> m(means[0].size());
  for (std::size_t k = 0; k < weights.size(); ++k) {
    for (std::size_t i = 0; i < m.size(); ++i) m[i] += weights[k] * means[k][i];
  }
  return m;
}

std::vector<double> GaussianMixture::second_moment() const {
  std::vector<double> m(means[0].size());
  for (std::size_t k = 0; k < weights.size(); ++k) {
    for (std::size_t i = 0; i < m.size(); ++i) {
      m[i] += weights[k] * (means[k][i] * means[k][i] + variances[k][i]);
    }
  }
  return m;
}

Tensor GaussianMixture::draw(Rng& rng, std::int64_t n) const {
  const std::vector<double> choice = rand(rng, {n}, DType::f64).to_vector<double>();
  const std::vector<double> z = randn(rng, {n, dimensions()}, DType::f64).to_vector<double>();
  std::vector<double> x(z.size());
  const auto d = static_cast<std::size_t>(dimensions());
  for (std::size_t i = 0; i < choice.size(); ++i) {
    std::size_t k = 0;
    for (double below = weights[0]; choice[i] >= below && k + 1 < weights.size();) {
      below += weights[++k];
    }
    for (std::size_t j = 0; j < d; ++j) {
      x[i * d + j] = means[k][j] + std::sqrt(variances[k][j]) * z[i * d + j];
    }
  }
  return Tensor::from(x, {n, dimensions()});
}

Tensor GaussianMixture::row(const std::vector<double>& values) const {
  return Tensor::from(values, {1, dimensions()});
}

Tensor GaussianMixture::log_joint(const Tensor& x_t, const NoiseLevel& level) const {
  std::vector<Tensor> columns;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const Tensor variance = square(level.alpha) * row(variances[k]) + square(level.sigma);
    const Tensor distance = square(x_t - level.alpha * row(means[k])) / variance;
    const Tensor log_normal = -0.5 * (distance + log(2.0 * std::numbers::pi * variance));
    columns.push_back(sum(log_normal, {1}, true) + std::log(weights[k]));
  }
  return concat(columns, 1);
}

Tensor GaussianMixture::log_density(const Tensor& x_t, const NoiseLevel& level) const {
  return logsumexp(log_joint(x_t, level), {1}, true);
}

Tensor GaussianMixture::responsibilities(const Tensor& x_t, const NoiseLevel& level) const {
  return softmax(log_joint(x_t, level), 1);
}

Tensor GaussianMixture::x0(const Tensor& x_t, const NoiseLevel& level) const {
  const Tensor r = responsibilities(x_t, level);
  Tensor mean;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const Tensor variance = square(level.alpha) * row(variances[k]) + square(level.sigma);
    const Tensor m = row(means[k]);
    const Tensor of_k = m + level.alpha * row(variances[k]) / variance * (x_t - level.alpha * m);
    const auto column = static_cast<std::int64_t>(k);
    const Tensor part = slice(r, 1, column, column + 1) * of_k;
    mean = k == 0 ? part : mean + part;
  }
  return mean;
}

Tensor GaussianMixture::score(const Tensor& x_t, const NoiseLevel& level) const {
  const Tensor r = responsibilities(x_t, level);
  Tensor total;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const Tensor variance = square(level.alpha) * row(variances[k]) + square(level.sigma);
    const auto column = static_cast<std::int64_t>(k);
    const Tensor part =
        slice(r, 1, column, column + 1) * ((level.alpha * row(means[k]) - x_t) / variance);
    total = k == 0 ? part : total + part;
  }
  return total;
}

Tensor GaussianMixture::epsilon(const Tensor& x_t, const NoiseLevel& level) const {
  return -(level.sigma * score(x_t, level));
}

Tensor GaussianMixture::v(const Tensor& x_t, const NoiseLevel& level) const {
  return level.alpha * epsilon(x_t, level) - level.sigma * x0(x_t, level);
}

Denoiser exact_denoiser(const GaussianDiffusion& process, const GaussianMixture& data) {
  return [process, data](const Tensor& x_t, const Tensor& t) {
    const NoiseLevel level = process.noise_level(t, x_t);
    const SignalAndNoise expected{data.x0(x_t, level), data.epsilon(x_t, level)};
    return output_for(process.prediction, expected, level, process.sigma_data);
  };
}

}  // namespace ito::oracle
