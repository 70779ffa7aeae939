#include "tests/oracles/gaussian_mixture.h"

#include <doctest/doctest.h>

#include "autograd/engine.h"
#include "tests/compare.h"

using namespace ito;
using oracle::GaussianMixture;
using test::max_difference;

namespace {

const GaussianMixture mixture{
    {.5, .3, .2}, {{-2, 0, 1}, {3, 1, -1}, {0, 0, 0}}, {{.25, .5, 1}, {1, 4, .01}, {0, 1, 2}}};

Tensor scalar(double value) { return Tensor::scalar(value, DType::f64); }

}  // namespace

TEST_CASE("oracle: the score is the gradient of the log density") {
  Rng rng(1, Purpose::test);
  const Levels level{{}, scalar(0.8), scalar(0.6)};
  const Tensor x = parameter(2.0 * randn(rng, {40, 3}, DType::f64));
  const Tensor gradient = grad(sum(mixture.log_density(x, level)), {x})[0];
  CHECK(max_difference(gradient, mixture.score(x, level)) < 1e-12);
}

TEST_CASE("oracle: x_0 is Tweedie's formula, and x_0, epsilon explain x_t") {
  Rng rng(2, Purpose::test);
  const Levels level{{}, scalar(0.28), scalar(0.96)};
  const Tensor x = 2.0 * randn(rng, {40, 3}, DType::f64);
  const Tensor tweedie = (x + square(level.sigma) * mixture.score(x, level)) / level.alpha;
  CHECK(max_difference(tweedie, mixture.x0(x, level)) < 1e-13);
  const Tensor both = level.alpha * mixture.x0(x, level) + level.sigma * mixture.epsilon(x, level);
  CHECK(max_difference(both, x) < 1e-13);
}

TEST_CASE("oracle: the density is positive, sums to one, and has the moments it claims") {
  const GaussianMixture line{{.7, .3}, {{-1}, {2}}, {{.5}, {.1}}};
  const Levels level{{}, scalar(0.9), scalar(0.3)};
  const std::int64_t n = 20001;  // trapezoids over [-10, 10]
  std::vector<double> grid(n);
  for (std::int64_t i = 0; i < n; ++i)
    grid[static_cast<std::size_t>(i)] = -10.0 + 0.001 * double(i);
  const Tensor x = Tensor::from(grid, {n, 1});
  const Tensor p = exp(line.log_density(x, level)) * 0.001;
  CHECK(sum(p).item() == doctest::Approx(1.0).epsilon(1e-12));
  CHECK(sum(p * x).item() == doctest::Approx(0.9 * line.mean()[0]).epsilon(1e-10));
  const double second = 0.81 * line.second_moment()[0] + 0.09;
  CHECK(sum(p * square(x)).item() == doctest::Approx(second).epsilon(1e-10));
}

TEST_CASE("oracle: draws have the mixture's moments") {
  Rng rng(3, Purpose::test);
  const std::int64_t n = 200'000;
  const Tensor x = mixture.draw(rng, n);
  const std::vector<double> mean_of = mixture.mean(), second = mixture.second_moment();
  const std::vector<double> m = mean(x, {0}).to_vector<double>();
  const std::vector<double> s = mean(square(x), {0}).to_vector<double>();
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(std::abs(m[i] - mean_of[i]) < 4.0 * std::sqrt(second[i] / double(n)));
    CHECK(std::abs(s[i] - second[i]) < 4.0 * std::sqrt(60.0 / double(n)));  // E[x^4] < 60
  }
}

namespace {

const GaussianMixture on_line{{.7, .3}, {{-1}, {2}}, {{.5}, {.1}}};

// Trapezoids over [-10, 10]: exact to rounding for smooth functions that vanish at both ends.
Tensor grid() {
  const std::int64_t n = 10001;
  std::vector<double> points(n);
  for (std::int64_t i = 0; i < n; ++i)
    points[static_cast<std::size_t>(i)] = -10.0 + 0.002 * double(i);
  return Tensor::from(points, {n, 1});
}
double integral(const Tensor& values) { return 0.002 * sum(values).item(); }

}  // namespace

TEST_CASE("oracle: the variance of x_0 is the slope of its mean (Tweedie's second formula)") {
  Rng rng(4, Purpose::test);
  const Levels level{{}, scalar(0.8), scalar(0.6)};
  const Tensor x = parameter(2.0 * randn(rng, {40, 3}, DType::f64));
  const Tensor x0 = mixture.x0(x, level);
  std::vector<Tensor> slopes;  // d E[x_0,i | x_t] / d x_t,i
  for (std::int64_t i = 0; i < 3; ++i) {
    const Tensor one = grad(sum(slice(x0, 1, i, i + 1)), {x}, {.retain_graph = true})[0];
    slopes.push_back(slice(one, 1, i, i + 1));
  }
  const Tensor wanted = square(level.sigma) / level.alpha * concat(slopes, 1);
  CHECK(max_difference(mixture.x0_variance(x, level), wanted) < 1e-12);
  // Without the spread of the means: the variance inside components alone.
  const Tensor r = mixture.responsibilities(x, level);
  Tensor inside;
  for (std::size_t k = 0; k < 3; ++k) {
    const auto c = static_cast<std::int64_t>(k);
    const Tensor part = slice(r, 1, c, c + 1) * mixture.component(k).x0_variance(x, level);
    inside = k == 0 ? part : inside + part;
  }
  CHECK(max_difference(inside, wanted) > 0.1);
}

TEST_CASE("oracle: the posterior and the reverse step are densities with the right means") {
  const Levels to_s{{}, scalar(0.95), scalar(0.312249899919920)};
  const Levels to_t{{}, scalar(0.8), scalar(0.6)};
  const Tensor x = grid();
  for (const double at : {-2.0, 0.3, 1.0, 4.0}) {
    const Tensor x_t = Tensor::full({1, 1}, at, DType::f64);
    const Tensor p = exp(on_line.posterior_log_density(x, x_t, to_t));
    const double m = on_line.x0(x_t, to_t).item();
    CHECK(std::abs(integral(p) - 1.0) < 1e-12);
    CHECK(std::abs(integral(p * x) - m) < 1e-12);
    CHECK(std::abs(integral(p * square(x - m)) - on_line.x0_variance(x_t, to_t).item()) < 1e-12);
    const Tensor step = exp(on_line.reverse_log_density(x, to_s, x_t, to_t));
    // E[x_s | x_t] from x_0 and eps, as in every sampler.
    const double alpha = 0.8 / 0.95, beta = 0.36 - alpha * alpha * 0.0975;
    const double wanted = (0.95 * beta * m + alpha * 0.0975 * at) / 0.36;
    CHECK(std::abs(integral(step) - 1.0) < 1e-12);
    CHECK(std::abs(integral(step * x) - wanted) < 1e-12);
    CHECK(std::abs(integral(step * x) - m) > 1e-3);  // it is not the estimate of x_0
  }
}

TEST_CASE("oracle: draws from the posterior have its mean and variance") {
  Rng rng(5, Purpose::test);
  const Levels level{{}, scalar(0.6), scalar(0.8)};
  const std::int64_t n = 100'000;
  const Tensor x_t = Tensor::full({n, 1}, 0.4, DType::f64);  // both components are likely
  const Tensor x0 = on_line.draw_posterior(rng, x_t, level);
  const Tensor one = slice(x_t, 0, 0, 1);
  const double m = on_line.x0(one, level).item(), v = on_line.x0_variance(one, level).item();
  CHECK(std::abs(mean(x0).item() - m) < 4.0 * std::sqrt(v / double(n)));
  CHECK(std::abs(mean(square(x0 - m)).item() - v) < 4.0 * v * std::sqrt(2.0 / double(n)));
}

TEST_CASE("oracle: entropy and divergence of a Gaussian are those of its density") {
  const GaussianMixture one = GaussianMixture::gaussian(0.7, 0.25);
  const Levels level{{}, scalar(0.8), scalar(0.6)};
  const Tensor x = grid(), log_p = one.log_density(x, level), p = exp(log_p);
  CHECK(std::abs(one.entropy(0.8, 0.6) + integral(p * log_p)) < 1e-12);
  const Tensor log_noise = -0.5 * (square(x) + std::log(2.0 * std::acos(-1.0)));
  CHECK(std::abs(one.divergence_from_noise(0.8, 0.6) - integral(p * (log_p - log_noise))) < 1e-12);
  CHECK(std::abs(one.entropy() - one.entropy(0.8, 0.6)) > 0.1);
}
