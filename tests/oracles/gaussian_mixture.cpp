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

double GaussianMixture::entropy(double alpha, double sigma) const {
  double nats = 0.0;
  for (const double v : variances.at(0)) {
    const double variance = alpha * alpha * v + sigma * sigma;
    nats += 0.5 * std::log(2.0 * std::numbers::pi * std::numbers::e * variance);
  }
  return nats;
}

double GaussianMixture::divergence_from_noise(double alpha, double sigma) const {
  double nats = 0.0;
  for (std::size_t i = 0; i < means[0].size(); ++i) {
    const double variance = alpha * alpha * variances[0][i] + sigma * sigma;
    const double mean = alpha * means[0][i];
    nats += 0.5 * (variance + mean * mean - 1.0 - std::log(variance));
  }
  return nats;
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

Tensor GaussianMixture::log_joint(const Tensor& x_t, const Levels& level) const {
  std::vector<Tensor> columns;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const Tensor variance = square(level.alpha) * row(variances[k]) + square(level.sigma);
    const Tensor distance = square(x_t - level.alpha * row(means[k])) / variance;
    const Tensor log_normal = -0.5 * (distance + log(2.0 * std::numbers::pi * variance));
    columns.push_back(sum(log_normal, {1}, true) + std::log(weights[k]));
  }
  return concat(columns, 1);
}

Tensor GaussianMixture::log_density(const Tensor& x_t, const Levels& level) const {
  return logsumexp(log_joint(x_t, level), {1}, true);
}

Tensor GaussianMixture::responsibilities(const Tensor& x_t, const Levels& level) const {
  return softmax(log_joint(x_t, level), 1);
}

Tensor GaussianMixture::mean_given(std::size_t k, const Tensor& x_t, const Levels& level) const {
  const Tensor m = row(means[k]), v = row(variances[k]);
  const Tensor of_x_t = square(level.alpha) * v + square(level.sigma);
  return m + level.alpha * v / of_x_t * (x_t - level.alpha * m);
}

Tensor GaussianMixture::variance_given(std::size_t k, const Levels& level) const {
  const Tensor v = row(variances[k]);
  return square(level.sigma) * v / (square(level.alpha) * v + square(level.sigma));
}

template <class F>
Tensor GaussianMixture::expected(const Tensor& x_t, const Levels& level, const F& of_each) const {
  const Tensor r = responsibilities(x_t, level);
  Tensor total;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const auto column = static_cast<std::int64_t>(k);
    const Tensor part = slice(r, 1, column, column + 1) * of_each(k);
    total = k == 0 ? part : total + part;
  }
  return total;
}

Tensor GaussianMixture::x0(const Tensor& x_t, const Levels& level) const {
  return expected(x_t, level, [&](std::size_t k) { return mean_given(k, x_t, level); });
}

Tensor GaussianMixture::x0_variance(const Tensor& x_t, const Levels& level) const {
  const Tensor mean = x0(x_t, level);
  return expected(x_t, level, [&](std::size_t k) {
    return variance_given(k, level) + square(mean_given(k, x_t, level) - mean);
  });
}

Tensor GaussianMixture::score(const Tensor& x_t, const Levels& level) const {
  return expected(x_t, level, [&](std::size_t k) {
    const Tensor variance = square(level.alpha) * row(variances[k]) + square(level.sigma);
    return (level.alpha * row(means[k]) - x_t) / variance;
  });
}

Tensor GaussianMixture::epsilon(const Tensor& x_t, const Levels& level) const {
  return -(level.sigma * score(x_t, level));
}

Tensor GaussianMixture::v(const Tensor& x_t, const Levels& level) const {
  return level.alpha * epsilon(x_t, level) - level.sigma * x0(x_t, level);
}

Tensor GaussianMixture::posterior_log_density(const Tensor& x0, const Tensor& x_t,
                                              const Levels& level) const {
  // Bayes: q(x_0) q(x_t | x_0) / q(x_t).
  const Levels clean{{}, Tensor::scalar(1.0, DType::f64), Tensor::scalar(0.0, DType::f64)};
  return reverse_log_density(x0, clean, x_t, level);
}

Tensor GaussianMixture::reverse_log_density(const Tensor& x_s, const Levels& to_s,
                                            const Tensor& x_t, const Levels& to_t) const {
  const Tensor alpha = to_t.alpha / to_s.alpha;  // of the forward step from s to t
  const Tensor variance = square(to_t.sigma) - square(alpha * to_s.sigma);
  const Tensor forward =
      -0.5 * (square(x_t - alpha * x_s) / variance + log(2.0 * std::numbers::pi * variance));
  return sum(forward, {1}, true) + log_density(x_s, to_s) - log_density(x_t, to_t);
}

Tensor GaussianMixture::draw_posterior(Rng& rng, const Tensor& x_t, const Levels& level) const {
  // The component by its responsibility: where a uniform number falls among their running sums.
  const Tensor r = responsibilities(x_t, level);
  const Tensor u = rand(rng, {x_t.size(0), 1}, DType::f64);
  const Tensor z = randn(rng, x_t.shape(), DType::f64);
  const std::vector<double> p = r.to_vector<double>(), choice = u.to_vector<double>();
  const auto columns = static_cast<std::size_t>(components());
  std::vector<double> one_of_each(p.size());
  for (std::size_t i = 0; i < choice.size(); ++i) {
    std::size_t k = 0;
    for (double below = p[i * columns]; choice[i] >= below && k + 1 < columns;) {
      below += p[i * columns + ++k];
    }
    one_of_each[i * columns + k] = 1.0;
  }
  const Tensor chosen = Tensor::from(one_of_each, r.shape());
  Tensor x0;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const auto column = static_cast<std::int64_t>(k);
    const Tensor draw = mean_given(k, x_t, level) + sqrt(variance_given(k, level)) * z;
    const Tensor part = slice(chosen, 1, column, column + 1) * draw;
    x0 = k == 0 ? part : x0 + part;
  }
  return x0;
}

Denoiser exact_denoiser(const test::Chain& process, const GaussianMixture& data) {
  return [p = process.parametrization(), data](const Tensor& x_t, const Levels& levels) {
    const Tensor output = p.target(data.x0(x_t, levels), data.epsilon(x_t, levels), levels);
    return p.denoised(output, x_t, levels);
  };
}

}  // namespace ito::oracle
