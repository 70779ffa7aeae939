// What networks may predict: each kind by its definition, and from each to every other.
#include "diffusion/denoiser/prediction.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/random.h"
#include "autograd/ops/reduce.h"
#include "tensor/error.h"
#include "tests/compare.h"
#include "tests/oracles/chain.h"
#include "tests/oracles/gaussian_data.h"

using namespace ito;
using test::Chain;
using test::max_difference;

namespace {

constexpr Prediction kinds[] = {Prediction::epsilon, Prediction::x0,  Prediction::v,
                                Prediction::score,   Prediction::edm, Prediction::flow};

Tensor number(double value) { return Tensor::scalar(value, DType::f64); }

// x_0 = D(x; sigma) as Karras et al. 2022 print it (eq. 7 and table 1), for an image that is not
// scaled: x = x_t / alpha.
double denoised_by_edm(double f, double x, double sigma, double sigma_data) {
  const double sum = sigma * sigma + sigma_data * sigma_data;
  const double c_skip = sigma_data * sigma_data / sum;
  const double c_out = sigma * sigma_data / std::sqrt(sum);
  return c_skip * x + c_out * f;
}

}  // namespace

TEST_CASE("predictions: each is what its paper defines") {
  const double x0 = 0.7, eps = -1.3;
  for (const double alpha : {1.0, 0.8, 0.01}) {
    for (const double sigma : {0.002, 0.6, 80.0}) {
      const Levels level{{}, number(alpha), number(sigma)};
      const auto output = [&](Prediction kind) {
        return target(kind, number(x0), number(eps), level).item();
      };
      CHECK(output(Prediction::epsilon) == eps);
      CHECK(output(Prediction::x0) == x0);
      CHECK(output(Prediction::v) == doctest::Approx(alpha * eps - sigma * x0).epsilon(1e-15));
      CHECK(output(Prediction::score) == doctest::Approx(-eps / sigma).epsilon(1e-15));
      CHECK(output(Prediction::flow) == doctest::Approx(eps - x0).epsilon(1e-15));
      const double x = x0 + sigma / alpha * eps, f = output(Prediction::edm);
      CHECK(std::abs(denoised_by_edm(f, x, sigma / alpha, 0.5) - x0) < 1e-11);
      CHECK(std::abs(denoised_by_edm(f, x, sigma / alpha, 0.6) - x0) > 1e-7);  // another sigma_data
    }
  }
}

TEST_CASE("predictions: each goes over into every other and back, at every t") {
  Rng rng(1, Purpose::test);
  // The last step of the cosine schedule is left out: there 1 / alpha = 2e4 costs four digits.
  std::vector<std::int64_t> all_but_last(999);
  for (std::size_t t = 0; t < 999; ++t) all_but_last[t] = static_cast<std::int64_t>(t);
  for (const NoiseSchedule& schedule : {NoiseSchedule::linear(), NoiseSchedule::karras(),
                                        NoiseSchedule::cosine().respaced(all_but_last)}) {
    const Chain process{schedule};
    const Shape shape{schedule.timesteps(), 3};
    const Tensor t = test::all_timesteps(schedule);
    const Tensor x0 = randn(rng, shape, DType::f64), eps = randn(rng, shape, DType::f64);
    const Tensor x_t = process.add_noise(x0, t, eps);
    const Levels level = process.levels(t, x_t);
    for (const Prediction from : kinds) {
      const Tensor p = target(from, x0, eps, level);
      const Tensor size = 1.0 + abs(p);
      for (const Prediction to : kinds) {
        CAPTURE(name_of(from));
        CAPTURE(name_of(to));
        const auto [x0_of_p, eps_of_p] = to_x0_eps(from, p, x_t, level);
        const Tensor q = target(to, x0_of_p, eps_of_p, level);
        const auto [x0_of_q, eps_of_q] = to_x0_eps(to, q, x_t, level);
        const Tensor back = target(from, x0_of_q, eps_of_q, level);
        CHECK(max(abs(back - p) / size).item() < 1e-12);
        // Both ends agree on x_0 and eps; x_0 by way of eps is divided by alpha, eps by sigma.
        const SignalAndNoise a = to_x0_eps(to, q, x_t, level);
        CHECK(max(abs(a.x0 - x0) * level.alpha).item() < 1e-13);
        CHECK(max(abs(a.eps - eps) * level.sigma).item() < 1e-13);
      }
    }
    // Taking one for another is found out: v for eps, and the score without its factor sigma.
    const Tensor v = target(Prediction::v, x0, eps, level);
    CHECK(max_difference(to_x0_eps(Prediction::epsilon, v, x_t, level).eps, eps) > 0.1);
    CHECK(max_difference(to_x0_eps(Prediction::score, -eps, x_t, level).eps, eps) > 0.1);
  }
}

TEST_CASE("predictions: the output F of EDM has variance 1 when the data have sigma_data") {
  for (const double sigma_data : {0.5, 1.0, 2.0}) {
    for (const double sigma : {0.002, 0.3, 80.0}) {
      const Levels level{{}, number(1.0), number(sigma)};
      // F is linear in x_0 and eps, which are independent: its variance is read off unit inputs.
      const auto variance = [&](double deviation) {
        const double a =
            target(Prediction::edm, number(deviation), number(0), level, sigma_data).item();
        const double b = target(Prediction::edm, number(0), number(1), level, sigma_data).item();
        return a * a + b * b;
      };
      CHECK(variance(sigma_data) == doctest::Approx(1.0).epsilon(1e-14));
      CHECK(std::abs(variance(3.0 * sigma_data) - 1.0) > 1e-6);
    }
  }
}

TEST_CASE("predictions: F is -v for sigma_data = 1, flow and v are one at equal parts") {
  Rng rng(2, Purpose::test);
  const Tensor x0 = randn(rng, {20}, DType::f64), eps = randn(rng, {20}, DType::f64);
  const Levels level{{}, number(0.8), number(0.6)};
  CHECK(max_difference(target(Prediction::edm, x0, eps, level, 1.0),
                       -target(Prediction::v, x0, eps, level)) < 1e-15);
  const double half = std::sqrt(0.5);
  const Levels equal{{}, number(half), number(half)};
  CHECK(max_difference(half * target(Prediction::flow, x0, eps, equal),
                       target(Prediction::v, x0, eps, equal)) < 1e-15);
}

TEST_CASE("predictions: names there and back") {
  for (const Prediction p : kinds) CHECK(enum_from_name<Prediction>(name_of(p)) == p);
  CHECK_THROWS_WITH_AS(enum_from_name<Prediction>("noise"),
                       "prediction: must be epsilon, x0, v, score, edm or flow; got \"noise\"",
                       ValueError);
}
