// sample_ddpm against the closed forms of Gaussian data, and against Algorithm 2 as it is printed.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops/reduce.h"
#include "tensor/error.h"
#include "tests/compare.h"
#include "tests/diffusion/sampler_probe.h"
#include "tests/oracles/chain.h"

using namespace ito;
using test::bent_noise;
using test::both_schedules;
using test::Chain;
using test::ddpm;
using test::exact_denoiser;
using test::marginal_variance;
using test::max_difference;
using test::Probe;
using test::probe;
using test::Sampler;

namespace {

double alpha_bar_before(const NoiseSchedule& schedule, std::int64_t t) {
  return t == 0 ? 1.0 : schedule.alpha_bar(t - 1);
}

// The farthest that a run with all steps strays from the true reverse process of N(0, s2): its mean
// is a regression of x_s on x_t, E[x_s | x_t] = Cov(x_s, x_t) / Var(x_t) x_t, in which no
// coefficient of the posterior appears.
double distance_from_regression(const Sampler& sampler, const Chain& process, double s2,
                                std::int64_t steps) {
  const Probe p = probe(sampler, process, s2, steps);
  double distance = 0.0;
  for (std::size_t i = 0; i < p.t.size(); ++i) {
    const double a_t = process.schedule.alpha_bar(p.t[i]);
    const double a_s = i + 1 < p.t.size() ? process.schedule.alpha_bar(p.t[i + 1]) : 1.0;
    const double covariance = std::sqrt(a_t / a_s) * marginal_variance(a_s, s2);
    distance = std::max(distance, std::abs(p.m[i] - covariance / marginal_variance(a_t, s2)));
  }
  return distance;
}

}  // namespace

TEST_CASE("sample_ddpm: every step's mean is the regression of the true reverse process") {
  for (const NoiseSchedule& schedule : both_schedules()) {
    for (const auto prediction : {Prediction::epsilon, Prediction::x0, Prediction::v}) {
      const Chain process{schedule, prediction};
      for (const double s2 : {0.25, 1.0, 4.0}) {
        for (const std::int64_t steps : {1, 2, 10, 250, 1000}) {
          CAPTURE(steps);
          // Going to x_0 at once from the end of the cosine schedule divides an epsilon by 5e-5.
          const double conditioning = schedule.level(999).alpha < 1e-3 && steps <= 2 ? 10.0 : 1.0;
          CHECK(distance_from_regression(ddpm(ReverseVariance::beta), process, s2, steps) <
                conditioning * 1e-12);
        }
      }
    }
  }
}

TEST_CASE("sample_ddpm: mean and variance follow the closed recursion") {
  for (const NoiseSchedule& schedule : both_schedules()) {
    const Chain process{schedule};
    const double s2 = 0.25;
    for (const auto variance : {ReverseVariance::beta, ReverseVariance::beta_tilde}) {
      const Probe p = probe(ddpm(variance), process, s2, 1000);
      double wanted = 1.0;  // variance of x_t, from N(0, 1) at the start
      for (std::int64_t t = 999; t >= 0; --t) {
        const double a_t = schedule.alpha_bar(t), a_s = alpha_bar_before(schedule, t);
        const double m = std::sqrt((1.0 - schedule.beta(t))) * marginal_variance(a_s, s2) /
                         marginal_variance(a_t, s2);
        const double added =
            variance == ReverseVariance::beta ? schedule.beta(t) : schedule.beta_tilde(t);
        wanted = m * m * wanted + (t == 0 ? 0.0 : added);
        const auto i = static_cast<std::size_t>(999 - t);
        CHECK(std::abs(p.v[i] - (t == 0 ? 0.0 : added)) < 1e-12);
      }
      CHECK(std::abs(p.final_variance - wanted) < 1e-12);
      // The factors telescope: from x_T to x_0 the mean is Cov(x_0, x_T) / Var(x_T).
      const double a_T = schedule.alpha_bar(999);
      CHECK(std::abs(p.total_factor - std::sqrt(a_T) * s2 / marginal_variance(a_T, s2)) < 1e-12);
    }
  }
}

TEST_CASE("sample_ddpm: variance beta is exact for unit data, beta_tilde for a point") {
  const Chain process{NoiseSchedule::linear()};
  // Unit data: every x_t has variance 1; without noise at the last step alpha_1 of it is left.
  CHECK(std::abs(probe(ddpm(ReverseVariance::beta), process, 1.0, 1000).final_variance - 0.9999) <
        1e-12);
  CHECK(probe(ddpm(ReverseVariance::beta_tilde), process, 1.0, 1000).final_variance < 0.9998);
  // A point at 0: beta_tilde keeps the variance of x_t at 1 - alpha_bar_t, and x_0 hits the point.
  const Probe p = probe(ddpm(ReverseVariance::beta_tilde), process, 0.0, 1000);
  double variance = 1.0 - process.schedule.alpha_bar(999);
  for (std::size_t i = 0; i < 999; ++i) {
    variance = p.m[i] * p.m[i] * variance + p.v[i];
    const auto s = static_cast<std::int64_t>(998 - i);
    CHECK(std::abs(variance - (1.0 - process.schedule.alpha_bar(s))) < 1e-12);
  }
  CHECK(std::abs(p.m.back()) < 1e-12);
}

TEST_CASE("sample_ddpm: a sampler with a wrong coefficient is found out") {
  // The step as it stands on many slides: alpha_t in the place of alpha_bar_t.
  const Sampler without_bar = [](const auto& process, const auto& model, const Tensor& x_T, Rng rng,
                                 std::int64_t, const Observer& observer) {
    const NoiseSchedule& schedule = process.schedule;
    Tensor x = x_T;
    for (std::int64_t t = schedule.timesteps() - 1; t >= 0; --t) {
      const Tensor eps = model(x, same_level(schedule.level(t), x)).eps;
      const double beta = schedule.beta(t);
      Tensor next = (x - beta / std::sqrt(beta) * eps) / std::sqrt(1.0 - beta);
      rng.seek(static_cast<std::uint64_t>(t) + 1);
      if (t > 0) next = next + std::sqrt(beta) * randn(rng, x.shape(), DType::f64);
      observer({1000 - t, 1000, schedule.level(t), {}, x, x, next});
      x = next;
    }
    return x;
  };
  // And the posterior's mean with one index off by one.
  const Sampler off_by_one = [](const auto& process, const auto& model, const Tensor& x_T, Rng rng,
                                std::int64_t, const Observer& observer) {
    const NoiseSchedule& schedule = process.schedule;
    Tensor x = x_T;
    for (std::int64_t t = schedule.timesteps() - 1; t >= 0; --t) {
      const Tensor x0 = model(x, same_level(schedule.level(t), x)).x0;
      const double a = schedule.alpha_bar(t), beta = schedule.beta(t);
      Tensor next = std::sqrt(a) * beta / (1.0 - a) * x0 +  // sqrt(alpha_bar_{t-1}) is right
                    std::sqrt(1.0 - beta) * (1.0 - alpha_bar_before(schedule, t)) / (1.0 - a) * x;
      rng.seek(static_cast<std::uint64_t>(t) + 1);
      if (t > 0) next = next + std::sqrt(beta) * randn(rng, x.shape(), DType::f64);
      observer({1000 - t, 1000, schedule.level(t), {}, x, x0, next});
      x = next;
    }
    return x;
  };
  const Chain process{NoiseSchedule::linear()};
  CHECK(distance_from_regression(without_bar, process, 0.25, 1000) > 1e-2);
  CHECK(distance_from_regression(off_by_one, process, 0.25, 1000) > 1e-5);
}

TEST_CASE("sample_ddpm: with all steps, the form of Algorithm 2 through epsilon is the same") {
  const Chain process{NoiseSchedule::linear()};
  const NoiseSchedule& schedule = process.schedule;
  const Rng rng(12, Purpose::sample);
  Rng noise = rng;
  const Tensor x_T = randn(noise, {3, 2}, DType::f64);
  double worst = 0.0;
  const Observer observer = [&](const SampleStep& step) {
    const auto t = static_cast<std::int64_t>(step.from.time);
    const Tensor eps = bent_noise(step.x_t, Tensor::full({3}, step.from.time, DType::f64));
    const double beta = schedule.beta(t);
    Tensor wanted =
        (step.x_t - beta / std::sqrt(1.0 - schedule.alpha_bar(t)) * eps) / std::sqrt(1.0 - beta);
    noise.seek(static_cast<std::uint64_t>(t) + 1);
    if (t > 0) wanted = wanted + std::sqrt(beta) * randn(noise, {3, 2}, DType::f64);
    worst = std::max(worst, max_difference(step.x_next, wanted));
  };
  sample_ddpm(process.denoiser(bent_noise), x_T, process.walk(), rng,
              {.loop = {.observer = observer}});
  CHECK(worst < 1e-12);
}

TEST_CASE("sample_ddpm: with a learned variance each element has its own noise") {
  // Output +1 is beta, -1 is beta_tilde, 0 the geometric mean of the two.
  const Chain process{NoiseSchedule::linear(100)};
  const Denoiser exact = exact_denoiser(process, 0.25);
  const Tensor x_T = Tensor::full({2, 3}, 0.5, DType::f64);
  const Rng rng(23, Purpose::sample);
  const auto with_variance = [&](double v) {
    const Network model = [&, v](const Tensor& x, const Tensor& time) {
      const Levels levels = process.levels(cast(time, DType::i64), x);
      return concat({exact(x, levels).eps, Tensor::full(x.shape(), v, DType::f64)}, -1);
    };
    return sample_ddpm(process.denoiser(model), x_T, process.walk(20), rng,
                       {.variance = ReverseVariance::learned});
  };
  const auto fixed = [&](ReverseVariance variance) {
    return sample_ddpm(process.denoiser(exact), x_T, process.walk(20), rng, {.variance = variance});
  };
  CHECK(max_difference(with_variance(1.0), fixed(ReverseVariance::beta)) < 1e-12);
  CHECK(max_difference(with_variance(-1.0), fixed(ReverseVariance::beta_tilde)) < 1e-12);
  CHECK(max_difference(with_variance(0.0), fixed(ReverseVariance::beta)) > 1e-3);
  CHECK_THROWS_AS(fixed(ReverseVariance::learned), ValueError);
}

TEST_CASE("sample_ddpm: a shift of the mean is the variance of the step times the shift") {
  const Chain process{NoiseSchedule::linear(100)};
  const Denoiser model = exact_denoiser(process, 0.25);
  const Tensor x_T = Tensor::full({1, 2}, 0.5, DType::f64);
  std::vector<Tensor> plain, moved;
  std::vector<std::int64_t> t_of_step;
  const auto run = [&](const ScoreShift& shift, std::vector<Tensor>& path) {
    sample_ddpm(process.denoiser(model), x_T, process.walk(2), Rng(1),
                {.shift_mean = shift, .loop = {.observer = [&](const SampleStep& step) {
                                        path.push_back(step.x_next.clone());
                                      }}});
  };
  run({}, plain);
  run(
      [&](const Tensor& x, const Levels& levels) {
        t_of_step.push_back(static_cast<std::int64_t>(levels.time.to_vector<double>()[0]));
        return Tensor::full(x.shape(), 3.0, x.dtype());
      },
      moved);
  CHECK(t_of_step == std::vector<std::int64_t>{99, 0});
  CHECK(max_difference(
            moved[0],
            plain[0] +
                3.0 * transition(process.schedule.level(0), process.schedule.level(99)).variance) <
        1e-14);
}
