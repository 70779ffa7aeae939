// The variances of a reverse step against the conditional variance of jointly normal x_s and x_t,
// and the chain over some of the timesteps.
#include "diffusion/process/reverse_variance.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "diffusion/likelihood/analytic_variance.h"
#include "diffusion/likelihood/variational_bound.h"
#include "tensor/error.h"
#include "tests/oracles/gaussian_data.h"

using namespace ito;
using test::Chain;
using test::marginal_variance;

namespace {

const std::vector<NoiseSchedule> schedules = {NoiseSchedule::linear(), NoiseSchedule::cosine()};

Level level_of(const NoiseSchedule& schedule, std::int64_t t) {
  return t == -1 ? Level::clean() : schedule.level(t);
}

double alpha_bar_of(const NoiseSchedule& schedule, std::int64_t t) {
  return t == -1 ? 1.0 : schedule.alpha_bar(t);
}

double variance_of_x_t(const NoiseSchedule& schedule, std::int64_t t, double s2) {
  return marginal_variance(alpha_bar_of(schedule, t), s2);
}

// E[eps_hat^2] of the best network for N(0, s2).
double squared_eps(const NoiseSchedule& schedule, std::int64_t t, double s2) {
  return schedule.one_minus_alpha_bar(t) / variance_of_x_t(schedule, t, s2);
}

// Var(x_s | x_t) for x_0 ~ N(0, s2), from the covariance: x_t is x_s shrunk, plus noise.
double bayes_variance(const NoiseSchedule& schedule, std::int64_t t, std::int64_t s, double s2) {
  const double of_s = variance_of_x_t(schedule, s, s2);
  const double covariance = std::sqrt(schedule.alpha_bar(t) / alpha_bar_of(schedule, s)) * of_s;
  return of_s - covariance * covariance / variance_of_x_t(schedule, t, s2);
}

// Where there is hardly any signal m is nearly 1, and what is left of it in 1 - m has been rounded.
double rounding(const NoiseSchedule& schedule, std::int64_t t) {
  return std::numeric_limits<double>::epsilon() / schedule.snr(t);
}

struct Jump {
  std::int64_t t, s;
};
const std::vector<Jump> jumps = {{0, -1},  {1, 0},     {2, 1},   {10, 9},    {500, 499},
                                 {99, 49}, {500, 100}, {999, 0}, {999, 998}, {700, -1}};

}  // namespace

TEST_CASE(
    "reverse variance: beta and beta_tilde are the schedule's, and those of the short chain") {
  for (const NoiseSchedule& schedule : schedules) {
    for (const std::int64_t t : {1, 2, 100, 999}) {
      CHECK(reverse_variance(level_of(schedule, t), level_of(schedule, t - 1),
                             ReverseVariance::beta) ==
            doctest::Approx(schedule.beta(t)).epsilon(1e-12));
      CHECK(reverse_variance(level_of(schedule, t), level_of(schedule, t - 1),
                             ReverseVariance::beta_tilde) ==
            doctest::Approx(schedule.beta_tilde(t)).epsilon(1e-12));
    }
    const NoiseSchedule chain = schedule.respaced({3, 40, 41, 600, 999});
    const std::vector<std::int64_t> visited = {3, 40, 41, 600, 999};
    for (std::size_t i = 1; i < visited.size(); ++i) {
      const auto step = static_cast<std::int64_t>(i);
      CHECK(reverse_variance(level_of(schedule, visited[i]), level_of(schedule, visited[i - 1]),
                             ReverseVariance::beta) ==
            doctest::Approx(chain.beta(step)).epsilon(1e-12));
      CHECK(reverse_variance(level_of(schedule, visited[i]), level_of(schedule, visited[i - 1]),
                             ReverseVariance::beta_tilde) ==
            doctest::Approx(chain.beta_tilde(step)).epsilon(1e-12));
    }
    CHECK(reverse_variance(level_of(schedule, 5), level_of(schedule, -1),
                           ReverseVariance::beta_tilde) == 0.0);
  }
}

TEST_CASE("reverse variance: the analytic one is the conditional variance of Gaussian data") {
  for (const NoiseSchedule& schedule : schedules) {
    for (const double s2 : {0.01, 0.25, 1.0}) {
      for (const auto [t, s] : jumps) {
        CAPTURE(t);
        CAPTURE(s);
        const double m = squared_eps(schedule, t, s2);
        const double got = reverse_variance(level_of(schedule, t), level_of(schedule, s),
                                            ReverseVariance::analytic, m);
        CHECK(std::abs(got - bayes_variance(schedule, t, s, s2)) < 1e-15 + rounding(schedule, t));
        const double low = reverse_variance(level_of(schedule, t), level_of(schedule, s),
                                            ReverseVariance::beta_tilde);
        const double high =
            reverse_variance(level_of(schedule, t), level_of(schedule, s), ReverseVariance::beta);
        CHECK(low <= got * (1 + 1e-12));
        CHECK(got <= high * (1 + 1e-12) + rounding(schedule, t));
        if (s2 == 0.25 && s >= 0) {  // neither end is it
          CHECK(std::abs(low - bayes_variance(schedule, t, s, s2)) > 1e-15);
          CHECK(std::abs(high - bayes_variance(schedule, t, s, s2)) > 1e-15);
        }
      }
    }
  }
}

TEST_CASE("reverse variance: with the noise of DDIM it keeps the marginal distributions") {
  // x_s = a + lambda z where a is linear in x_0 and x_t: whatever lambda is, x_s has its marginal
  // variance, and what x_t does not explain of it is the best variance.
  const double s2 = 0.25;
  for (const NoiseSchedule& schedule : schedules) {
    for (const auto [t, s] : jumps) {
      if (s < 0) continue;
      const double noise_s = schedule.level(s).sigma * schedule.level(s).sigma;
      const double beta_tilde =
          posterior_step(level_of(schedule, t), level_of(schedule, s)).variance;
      const double of_t = variance_of_x_t(schedule, t, s2);
      for (const double lambda2 : {0.0, 0.3 * beta_tilde, beta_tilde, noise_s}) {
        const double per_x_t = std::sqrt((noise_s - lambda2) / schedule.one_minus_alpha_bar(t));
        const double per_x0 = schedule.level(s).alpha - schedule.level(t).alpha * per_x_t;
        const double covariance = per_x0 * schedule.level(t).alpha * s2 + per_x_t * of_t;
        const double wanted = variance_of_x_t(schedule, s, s2) - covariance * covariance / of_t;
        const double got = analytic_variance(level_of(schedule, t), level_of(schedule, s), lambda2,
                                             squared_eps(schedule, t, s2));
        CHECK(std::abs(got - wanted) < 1e-14 + rounding(schedule, t));
      }
      CHECK(analytic_variance(level_of(schedule, t), level_of(schedule, s), beta_tilde, 0.6) ==
            doctest::Approx(reverse_variance(level_of(schedule, t), level_of(schedule, s),
                                             ReverseVariance::analytic, 0.6))
                .epsilon(1e-11));
    }
  }
  CHECK_THROWS_AS(
      analytic_variance(level_of(schedules[0], 5), level_of(schedules[0], 4), -0.1, 0.5),
      ValueError);
  CHECK_THROWS_AS(analytic_variance(level_of(schedules[0], 5), level_of(schedules[0], 4), 0.9, 0.5),
                  ValueError);
}

TEST_CASE("reverse variance: an estimate outside of what images allow is brought inside") {
  const NoiseSchedule schedule = NoiseSchedule::linear();
  CHECK(variance_of_x0(level_of(schedule, 999), 0.5) == 1.0);   // 12,000 by the formula
  CHECK(variance_of_x0(level_of(schedule, 100), 1.01) == 0.0);  // less than 0
  const NoiseSchedule blind = schedule.with_zero_terminal_snr();
  for (const double m : {0.99, 1.0}) {
    CHECK(variance_of_x0(level_of(blind, 999), m) == 1.0);
    CHECK(std::isfinite(reverse_variance(level_of(blind, 999), level_of(blind, 998),
                                         ReverseVariance::analytic, m)));
  }
  CHECK_THROWS_AS(
      reverse_variance(level_of(schedule, 5), level_of(schedule, 4), ReverseVariance::learned),
      ValueError);
  CHECK_THROWS_AS(
      reverse_variance(level_of(schedule, 4), level_of(schedule, 5), ReverseVariance::beta),
      ValueError);
  CHECK(std::sqrt(max_variance_of_last_noise()) == doctest::Approx(0.0196594).epsilon(1e-5));
}

TEST_CASE("reverse variance: names go both ways") {
  for (const auto variance : {ReverseVariance::beta, ReverseVariance::beta_tilde,
                              ReverseVariance::learned, ReverseVariance::analytic}) {
    CHECK(enum_from_name<ReverseVariance>(name_of(variance)) == variance);
  }
  CHECK_THROWS_AS(enum_from_name<ReverseVariance>("gamma"), ValueError);
}

TEST_CASE("learned variance: outputs of 1 and -1 are beta and beta_tilde bit for bit") {
  for (const auto dtype : {DType::f32, DType::f64}) {
    Rng rng(1, Purpose::test);
    const Tensor log_beta = randn(rng, {40, 1}, dtype), log_beta_tilde = randn(rng, {40, 1}, dtype);
    const auto same = [](const Tensor& a, const Tensor& b) {
      return std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
    };
    const Tensor one = Tensor::full({40, 1}, 1.0, dtype);
    CHECK(same(learned_log_variance(one, log_beta, log_beta_tilde), log_beta));
    CHECK(same(learned_log_variance(-one, log_beta, log_beta_tilde), log_beta_tilde));
    const Tensor middle = learned_log_variance(0.0 * one, log_beta, log_beta_tilde);
    CHECK(max(abs(middle - 0.5 * (log_beta + log_beta_tilde))).item() < 1e-6);
    CHECK_FALSE(same(learned_log_variance(one, log_beta_tilde, log_beta), log_beta));
  }
}

TEST_CASE("analytic variance: the estimate of E[eps_hat^2] is that of Gaussian data") {
  const Chain process{NoiseSchedule::linear(10, 0.02, 0.5)};
  const Denoiser model = test::exact_denoiser(process, 0.25);
  Rng rng(2, Purpose::test);
  const std::int64_t n = 20'000;
  const Tensor x0 = 0.5 * randn(rng, {n, 2}, DType::f64);
  const std::vector<double> m = mean_squared_eps(model, x0, process.schedule.levels(), rng);
  REQUIRE(m.size() == 10);
  for (std::int64_t t = 0; t < 10; ++t) {
    const double exact = squared_eps(process.schedule, t, 0.25);
    const double error = exact * std::sqrt(2.0 / static_cast<double>(2 * n));
    CHECK(std::abs(m[static_cast<std::size_t>(t)] - exact) < 4.0 * error);
    if (t < 4) CHECK(std::abs(1.0 - exact) > 4.0 * error);  // the noise itself has another
  }
  // Two halves make the whole.
  Rng later = rng;
  later.seek(0, static_cast<std::uint64_t>(n / 2));
  rng.seek(0);
  const auto first =
      mean_squared_eps(model, slice(x0, 0, 0, n / 2), process.schedule.levels(), rng);
  const auto second =
      mean_squared_eps(model, slice(x0, 0, n / 2, n), process.schedule.levels(), later);
  for (std::size_t t = 0; t < 10; ++t) {
    CHECK(0.5 * (first[t] + second[t]) == doctest::Approx(m[t]).epsilon(1e-12));
  }
}

TEST_CASE(
    "analytic variance: the other estimate is right for any network, and where m is nearly 1") {
  const Chain process{NoiseSchedule::linear()};
  const double s2 = 0.25;
  Rng rng(3, Purpose::test);
  const Tensor x0 = 0.5 * randn(rng, {500, 2}, DType::f64);
  const auto best =
      explained_noise(test::exact_denoiser(process, s2), x0, process.schedule.levels(), rng);
  const auto squares =
      mean_squared_eps(test::exact_denoiser(process, s2), x0, process.schedule.levels(), rng);
  double farthest = 0.0, farthest_of_squares = 0.0;  // of Var(x_0 | x_t), relative
  for (const std::int64_t t : {0, 10, 300, 700, 999}) {
    const auto i = static_cast<std::size_t>(t);
    const double exact =
        variance_of_x0(level_of(process.schedule, t), squared_eps(process.schedule, t, s2));
    const auto off = [&](double m) {
      return std::abs(variance_of_x0(level_of(process.schedule, t), m) / exact - 1.0);
    };
    farthest = std::max(farthest, off(best[i]));
    farthest_of_squares = std::max(farthest_of_squares, off(squares[i]));
  }
  CHECK(farthest < 5.0 * std::sqrt(2.0 / 1000.0));
  CHECK(farthest_of_squares > 1.0);

  // With the network of other data no variance has a smaller bound than the one of this estimate.
  const Chain few{NoiseSchedule::linear(10, 0.02, 0.5)};
  const Denoiser wrong = test::exact_denoiser(few, 1.0);
  const Tensor many = 0.5 * randn(rng, {20'000, 1}, DType::f64);
  const auto m = explained_noise(wrong, many, few.schedule.levels(), rng);
  const auto bound_with = [&](double factor) {
    std::vector<double> scaled = m;
    for (double& x : scaled) x = 1.0 - factor * (1.0 - x);
    const BoundOptions options{.variance = ReverseVariance::analytic,
                               .decoder = DiscretizedLikelihood::continuous,
                               .mean_squared_eps = scaled};
    return VariationalBound(few.schedule, options, DType::f64).evaluate(wrong, many, rng).total();
  };
  CHECK(bound_with(1.0) < bound_with(1.02));
  CHECK(bound_with(1.0) < bound_with(0.98));
}

TEST_CASE("respaced: the short chain has the noise of the visited timesteps, and asks there") {
  const Chain process{NoiseSchedule::cosine()};
  const std::vector<std::int64_t> visited = {0, 10, 400, 999};
  std::vector<double> asked;
  const Network network = [&](const Tensor& x, const Tensor& time) {
    asked = cast(time, DType::f64).to_vector<double>();
    return x;
  };
  const NoiseSchedule chain = process.schedule.respaced(visited);
  REQUIRE(chain.timesteps() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(chain.level(static_cast<std::int64_t>(i)) == process.schedule.level(visited[i]));
  }
  const Tensor x = Tensor::zeros({4, 1});
  process.denoiser(network)(x, chain.levels(Tensor::from<std::int64_t>({0, 1, 2, 3}, {4}), x));
  CHECK(asked == std::vector<double>{0, 10, 400, 999});
  const NoiseSchedule again = chain.respaced({1, 3});  // of a chain that has been shortened
  CHECK(again.level(0).time == 10.0);
  CHECK(again.level(1).time == 999.0);
  CHECK_THROWS_AS(process.schedule.respaced({5, 5}), ValueError);
  CHECK_THROWS_AS(process.schedule.respaced({1000}), ValueError);
}

TEST_CASE("respaced: with the best variance the bound of any chain is exact on Gaussian data") {
  const double s2 = 0.25, s = 0.5;
  const Tensor x0 = Tensor::from<double>({s, s, -s, -s}, {4, 1});  // has all second moments
  const Tensor eps = Tensor::from<double>({1, -1, 1, -1}, {4, 1});
  const double entropy = 0.5 * std::log(2.0 * std::acos(-1.0) * s2) + 0.5;
  const Chain process{NoiseSchedule::linear()};
  const double of_end = variance_of_x_t(process.schedule, 999, s2);
  const double least = entropy + 0.5 * (of_end - 1.0 - std::log(of_end));
  const Denoiser model = process.denoiser([&](const Tensor& x, const Tensor& time) {
    return process.output(test::exact_denoiser(process, s2), x, time);
  });
  const auto bound_of = [&](const NoiseSchedule& chain) {
    std::vector<double> m;
    for (std::int64_t i = 0; i < chain.timesteps(); ++i) {
      m.push_back(squared_eps(chain, i, s2));
    }
    const VariationalBound bound(chain,
                                 {.variance = ReverseVariance::analytic,
                                  .decoder = DiscretizedLikelihood::continuous,
                                  .mean_squared_eps = m},
                                 DType::f64);
    double total = mean(bound.prior(x0)).item();
    for (std::size_t i = 0; i < m.size(); ++i) {
      const Tensor t = Tensor::full({4}, static_cast<double>(i), DType::i64);
      total += mean(bound.terms(model, x0, t, eps).nats).item();
    }
    return total;
  };
  for (const std::vector<std::int64_t>& visited :
       {std::vector<std::int64_t>{999}, {0, 999}, {3, 77, 500, 999}, {0, 1, 2, 998, 999}}) {
    CHECK(std::abs(bound_of(process.schedule.respaced(visited)) - least) < 1e-12);
  }
  // A network that is asked at the number of the step in the place of its timestep.
  std::vector<double> alpha_bars;
  for (const std::int64_t t : {0, 1, 500, 999}) alpha_bars.push_back(process.schedule.alpha_bar(t));
  const NoiseSchedule wrong = NoiseSchedule::from_alpha_bars(alpha_bars);
  CHECK(bound_of(wrong) - least > 0.1);
}
