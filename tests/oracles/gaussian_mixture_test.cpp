#include "tests/oracles/gaussian_mixture.h"

#include <doctest/doctest.h>

#include "autograd/engine.h"

using namespace ito;
using oracle::GaussianMixture;

namespace {

const GaussianMixture mixture{
    {.5, .3, .2}, {{-2, 0, 1}, {3, 1, -1}, {0, 0, 0}}, {{.25, .5, 1}, {1, 4, .01}, {0, 1, 2}}};

Tensor scalar(double value) { return Tensor::scalar(value, DType::f64); }

double max_difference(const Tensor& a, const Tensor& b) { return max(abs(a - b)).item(); }

}  // namespace

TEST_CASE("oracle: the score is the gradient of the log density") {
  Rng rng(1, Purpose::test);
  const NoiseLevel level{scalar(0.8), scalar(0.6)};
  const Tensor x = parameter(2.0 * randn(rng, {40, 3}, DType::f64));
  const Tensor gradient = grad(sum(mixture.log_density(x, level)), {x})[0];
  CHECK(max_difference(gradient, mixture.score(x, level)) < 1e-12);
}

TEST_CASE("oracle: x_0 is Tweedie's formula, and x_0, epsilon explain x_t") {
  Rng rng(2, Purpose::test);
  const NoiseLevel level{scalar(0.28), scalar(0.96)};
  const Tensor x = 2.0 * randn(rng, {40, 3}, DType::f64);
  const Tensor tweedie = (x + square(level.sigma) * mixture.score(x, level)) / level.alpha;
  CHECK(max_difference(tweedie, mixture.x0(x, level)) < 1e-13);
  const Tensor both = level.alpha * mixture.x0(x, level) + level.sigma * mixture.epsilon(x, level);
  CHECK(max_difference(both, x) < 1e-13);
}

TEST_CASE("oracle: the density is positive, sums to one, and has the moments it claims") {
  const GaussianMixture line{{.7, .3}, {{-1}, {2}}, {{.5}, {.1}}};
  const NoiseLevel level{scalar(0.9), scalar(0.3)};
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
