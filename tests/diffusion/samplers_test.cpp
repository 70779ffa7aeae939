// Samplers against the closed forms of Gaussian data. With the exact denoiser each step is
// x_s = m x_t + sqrt(v) z; m, v and z can be read off a run without Monte-Carlo error.
#include "diffusion/samplers.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/error.h"
#include "tests/compare.h"
#include "tests/oracles/gaussian_data.h"

using namespace ito;
using test::exact_denoiser;
using test::marginal_variance;
using test::max_difference;
using test::same_bits;

namespace {

using Sampler = std::function<Tensor(const GaussianDiffusion&, const Denoiser&, const Tensor& x_T,
                                     Rng, std::int64_t steps, const Observer&)>;

Sampler ddpm(ReverseVariance variance) {
  return [variance](const auto& process, const auto& model, const Tensor& x_T, Rng rng,
                    std::int64_t steps, const Observer& observer) {
    return sample_ddpm(process, model, x_T, rng,
                       {.steps = steps, .variance = variance, .observer = observer});
  };
}

Sampler ddim(double eta) {
  return [eta](const auto& process, const auto& model, const Tensor& x_T, Rng rng,
               std::int64_t steps, const Observer& observer) {
    return sample_ddim(process, model, x_T, rng,
                       {.steps = steps, .eta = eta, .observer = observer});
  };
}

// What a run did: each step's factor m and variance v, measured, and what they add up to.
struct Probe {
  std::vector<std::int64_t> t;  // falling: where each step started
  std::vector<double> m, v;
  double total_factor = 1.0;    // d x_0 / d x_T
  double final_variance = 1.0;  // of x_0, when x_T ~ N(0, 1)
};

// Two runs with the same z differ by products of m alone; what m does not explain of one run is
// sqrt(v) z, and z is known from the contract of the generator.
Probe probe(const Sampler& sampler, const GaussianDiffusion& process, double s2,
            std::int64_t steps) {
  const Shape shape{1, 1};
  Probe p;
  const auto path_from = [&](double start) {
    std::vector<double> path = {start};
    p.t.clear();
    sampler(process, exact_denoiser(process, s2), Tensor::full(shape, start, DType::f64),
            Rng(11, Purpose::sample), steps, [&](const SampleStep& step) {
              path.push_back(step.x_next.item());
              p.t.push_back(step.t);
            });
    return path;
  };
  const auto low = path_from(0.0), high = path_from(1e5);  // far apart: no digits lost below
  for (std::size_t i = 0; i < p.t.size(); ++i) {
    Rng rng(11, Purpose::sample);
    rng.seek(static_cast<std::uint64_t>(p.t[i]) + 1);
    const double z = randn(rng, shape, DType::f64).item();
    const double m = (high[i + 1] - low[i + 1]) / (high[i] - low[i]);
    const double root_v = (low[i + 1] - m * low[i]) / z;
    p.m.push_back(m);
    p.v.push_back(root_v * root_v);
    p.total_factor *= m;
    p.final_variance = m * m * p.final_variance + p.v.back();
  }
  return p;
}

// The farthest that a run with all steps strays from the true reverse process of N(0, s2): its mean
// is a regression of x_s on x_t, E[x_s | x_t] = Cov(x_s, x_t) / Var(x_t) x_t, in which no
// coefficient of the posterior appears.
double distance_from_regression(const Sampler& sampler, const GaussianDiffusion& process, double s2,
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

const std::vector<NoiseSchedule> schedules = {NoiseSchedule::linear(), NoiseSchedule::cosine()};

// Not linear, and different at every t: a stand-in for a network in tests of equality.
Tensor bent_noise(const Tensor& x_t, const Tensor& t) {
  const Tensor phase = reshape(convert(t, x_t.dtype()), Shape{t.size(0), 1});
  return tanh(0.7 * x_t + sin(0.01 * phase));
}

}  // namespace

TEST_CASE("timesteps: both ends are visited, the gaps differ by at most one") {
  using V = std::vector<std::int64_t>;
  CHECK(evenly_spaced_timesteps(1000, 1) == V{999});
  CHECK(evenly_spaced_timesteps(1000, 2) == V{0, 999});
  CHECK(evenly_spaced_timesteps(1000, 4) == V{0, 333, 666, 999});
  CHECK(evenly_spaced_timesteps(10, 4) == V{0, 3, 6, 9});
  CHECK(evenly_spaced_timesteps(4, 4) == V{0, 1, 2, 3});
  CHECK(evenly_spaced_timesteps(1, 1) == V{0});
  for (std::int64_t steps = 2; steps <= 1000; ++steps) {
    const V t = evenly_spaced_timesteps(1000, steps);
    REQUIRE(static_cast<std::int64_t>(t.size()) == steps);
    REQUIRE(t.front() == 0);
    REQUIRE(t.back() == 999);
    std::int64_t shortest = 1000, longest = 0;
    for (std::size_t i = 1; i < t.size(); ++i) {
      shortest = std::min(shortest, t[i] - t[i - 1]);
      longest = std::max(longest, t[i] - t[i - 1]);
    }
    REQUIRE(shortest >= 1);
    REQUIRE(longest - shortest <= 1);
  }
  CHECK_THROWS_AS(evenly_spaced_timesteps(10, 0), ValueError);
  CHECK_THROWS_AS(evenly_spaced_timesteps(10, 11), ValueError);
}

TEST_CASE("sample_ddpm: every step's mean is the regression of the true reverse process") {
  for (const NoiseSchedule& schedule : schedules) {
    for (const auto prediction : {Prediction::epsilon, Prediction::x0, Prediction::v}) {
      const GaussianDiffusion process{schedule, prediction};
      for (const double s2 : {0.25, 1.0, 4.0}) {
        for (const std::int64_t steps : {1, 2, 10, 250, 1000}) {
          CAPTURE(steps);
          // Going to x_0 at once from the end of the cosine schedule divides an epsilon by 5e-5.
          const double conditioning =
              schedule.sqrt_alpha_bar(999) < 1e-3 && steps <= 2 ? 10.0 : 1.0;
          CHECK(distance_from_regression(ddpm(ReverseVariance::beta), process, s2, steps) <
                conditioning * 1e-12);
        }
      }
    }
  }
}

TEST_CASE("sample_ddpm: mean and variance follow the closed recursion") {
  for (const NoiseSchedule& schedule : schedules) {
    const GaussianDiffusion process{schedule};
    const double s2 = 0.25;
    for (const auto variance : {ReverseVariance::beta, ReverseVariance::beta_tilde}) {
      const Probe p = probe(ddpm(variance), process, s2, 1000);
      double wanted = 1.0;  // variance of x_t, from N(0, 1) at the start
      for (std::int64_t t = 999; t >= 0; --t) {
        const double a_t = schedule.alpha_bar(t), a_s = schedule.alpha_bar(t - 1);
        const double m =
            std::sqrt(schedule.alpha(t)) * marginal_variance(a_s, s2) / marginal_variance(a_t, s2);
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
  const GaussianDiffusion process{NoiseSchedule::linear()};
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
      const Tensor steps = Tensor::full({1}, static_cast<double>(t), DType::i64);
      const Tensor eps = model(x, steps);
      const double beta = schedule.beta(t);
      Tensor next = (x - beta / std::sqrt(1.0 - schedule.alpha(t)) * eps) / std::sqrt(1.0 - beta);
      rng.seek(static_cast<std::uint64_t>(t) + 1);
      if (t > 0) next = next + std::sqrt(beta) * randn(rng, x.shape(), DType::f64);
      observer({1000 - t, 1000, t, x, x, next});
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
      const Tensor steps = Tensor::full({1}, static_cast<double>(t), DType::i64);
      const Tensor x0 = process.denoise(model, x, steps).x0;
      const double a = schedule.alpha_bar(t), beta = schedule.beta(t);
      Tensor next = std::sqrt(a) * beta / (1.0 - a) * x0 +  // sqrt(alpha_bar_{t-1}) is right
                    std::sqrt(1.0 - beta) * (1.0 - schedule.alpha_bar(t - 1)) / (1.0 - a) * x;
      rng.seek(static_cast<std::uint64_t>(t) + 1);
      if (t > 0) next = next + std::sqrt(beta) * randn(rng, x.shape(), DType::f64);
      observer({1000 - t, 1000, t, x, x0, next});
      x = next;
    }
    return x;
  };
  const GaussianDiffusion process{NoiseSchedule::linear()};
  CHECK(distance_from_regression(without_bar, process, 0.25, 1000) > 1e-2);
  CHECK(distance_from_regression(off_by_one, process, 0.25, 1000) > 1e-5);
}

TEST_CASE("sample_ddpm: with all steps, the form of Algorithm 2 through epsilon is the same") {
  const GaussianDiffusion process{NoiseSchedule::linear()};
  const NoiseSchedule& schedule = process.schedule;
  const Rng rng(12, Purpose::sample);
  Rng noise = rng;
  const Tensor x_T = randn(noise, {3, 2}, DType::f64);
  double worst = 0.0;
  sample_ddpm(
      process, bent_noise, x_T, rng, {.observer = [&](const SampleStep& step) {
        const Tensor t = Tensor::full({3}, static_cast<double>(step.t), DType::i64);
        Tensor wanted =
            (step.x_t - schedule.beta(step.t) / std::sqrt(1.0 - schedule.alpha_bar(step.t)) *
                            bent_noise(step.x_t, t)) /
            std::sqrt(schedule.alpha(step.t));
        noise.seek(static_cast<std::uint64_t>(step.t) + 1);
        if (step.t > 0) {
          wanted = wanted + std::sqrt(schedule.beta(step.t)) * randn(noise, {3, 2}, DType::f64);
        }
        worst = std::max(worst, max_difference(step.x_next, wanted));
      }});
  CHECK(worst < 1e-12);
}

TEST_CASE("sample_ddim: with eta = 1 and all steps it walks the path of DDPM with beta_tilde") {
  for (const NoiseSchedule& schedule : schedules) {
    const GaussianDiffusion process{schedule};
    const Rng rng(13, Purpose::sample);
    Rng start = rng;
    const Tensor x_T = randn(start, {3, 2}, DType::f64);
    std::vector<Tensor> path;
    const Observer keep = [&](const SampleStep& step) { path.push_back(step.x_next); };
    ddpm(ReverseVariance::beta_tilde)(process, bent_noise, x_T, rng, 1000, keep);
    REQUIRE(path.size() == 1000);
    std::size_t i = 0;
    // Rounding is relative to the largest numbers: estimates of x_0, which are divided by alpha and
    // reach 250 (linear) and 3e4 (cosine).
    double worst = 0.0, size = 1.0;
    ddim(1.0)(process, bent_noise, x_T, rng, 1000, [&](const SampleStep& step) {
      worst = std::max(worst, max_difference(step.x_next, path[i++]));
      size = std::max(size, max(abs(step.x0)).item());
    });
    CHECK(worst < 1e-14 * size);
    CHECK(i == 1000);
  }
}

TEST_CASE("sample_ddim: keeps the marginal distributions for any eta when x_0 is known") {
  // Data at one point c: the network knows x_0, so x_t ~ N(sqrt(a) c, 1 - a) must go over into
  // N(sqrt(a_s) c, 1 - a_s) whatever the steps and eta are (lemma 1 of the paper).
  for (const double eta : {0.0, 0.3, 1.0}) {
    for (const std::int64_t steps : {3, 50, 1000}) {
      const GaussianDiffusion process{NoiseSchedule::linear(), Prediction::x0};
      const Probe p = probe(ddim(eta), process, 0.0, steps);
      double variance = 1.0 - process.schedule.alpha_bar(999);
      for (std::size_t i = 0; i + 1 < p.t.size(); ++i) {
        variance = p.m[i] * p.m[i] * variance + p.v[i];
        CHECK(std::abs(variance - (1.0 - process.schedule.alpha_bar(p.t[i + 1]))) < 1e-12);
      }
      CHECK(std::abs(p.m.back()) < 1e-12);
    }
  }
}

TEST_CASE("sample_ddim: eta = 0 ignores the generator and repeats bit for bit") {
  const GaussianDiffusion process{NoiseSchedule::linear()};
  Rng rng(14, Purpose::sample);
  const Tensor x_T = randn(rng, {4, 3});
  const Tensor a = sample_ddim(process, bent_noise, x_T, rng, {.steps = 20});
  const Tensor b = sample_ddim(process, bent_noise, x_T, rng, {.steps = 20});
  const Tensor c = sample_ddim(process, bent_noise, x_T, Rng(99, Purpose::test), {.steps = 20});
  CHECK(same_bits(a, b));
  CHECK(same_bits(a, c));
  const DdimOptions noisy{.steps = 20, .eta = 0.5};
  const Tensor d = sample_ddim(process, bent_noise, x_T, rng, noisy);
  CHECK(same_bits(d, sample_ddim(process, bent_noise, x_T, rng, noisy)));
  CHECK(max_difference(d, sample_ddim(process, bent_noise, x_T, Rng(99), noisy)) > 1e-2);
}

TEST_CASE("sample_ddim: encoding and decoding has the error of a method of first order") {
  const GaussianDiffusion process{NoiseSchedule::linear()};
  const Denoiser model = exact_denoiser(process, 0.25);
  const Tensor x0 = Tensor::full({1, 1}, 0.7, DType::f64);
  const auto error = [&](std::int64_t steps) {
    const Tensor x_T = encode_ddim(process, model, x0, steps);
    const Tensor back = sample_ddim(process, model, x_T, Rng(0), {.steps = steps});
    return max_difference(back, x0) / 0.7;
  };
  // From a separate program in double precision.
  CHECK(error(10) == doctest::Approx(0.476754518).epsilon(1e-6));
  CHECK(error(50) == doctest::Approx(0.108855262).epsilon(1e-6));
  CHECK(error(100) == doctest::Approx(0.055459487).epsilon(1e-6));
  CHECK(error(1000) == doctest::Approx(0.005642413).epsilon(1e-6));
  CHECK(error(100) / error(1000) == doctest::Approx(10.0).epsilon(0.05));
}

TEST_CASE("samplers: the same function in any parametrisation gives the same path") {
  const Rng rng(15, Purpose::sample);
  Rng start = rng;
  const Tensor x_T = randn(start, {3, 2}, DType::f64);
  for (const Sampler& sampler : {ddpm(ReverseVariance::beta), ddim(0.0), ddim(0.7)}) {
    for (const std::int64_t steps : {7, 1000}) {
      std::vector<Tensor> results;
      for (const auto prediction : {Prediction::epsilon, Prediction::x0, Prediction::v,
                                    Prediction::score, Prediction::edm, Prediction::flow}) {
        const GaussianDiffusion process{NoiseSchedule::linear(), prediction};
        const Denoiser model = [&](const Tensor& x_t, const Tensor& t) {
          const NoiseLevel level = process.noise_level(t, x_t);
          const Tensor eps = bent_noise(x_t, t);
          return output_for(prediction, explain(Prediction::epsilon, eps, x_t, level), level);
        };
        results.push_back(sampler(process, model, x_T, rng, steps, {}));
      }
      const double size = max(abs(results[0])).item();
      for (const Tensor& result : results) {
        CHECK(max_difference(result, results[0]) < 1e-12 * (1 + size));
      }
    }
  }
}

TEST_CASE("samplers: cutting a batch in two changes nothing") {
  const GaussianDiffusion process{NoiseSchedule::linear()};
  for (const Sampler& sampler : {ddpm(ReverseVariance::beta), ddim(1.0)}) {
    Rng rng(16, Purpose::sample);
    const Tensor x_T = randn(rng, {5, 3});
    const Tensor together = sampler(process, bent_noise, x_T, rng, 30, {});
    Rng upper(16, Purpose::sample), lower(16, Purpose::sample);
    lower.seek(0, 2);
    CHECK(same_bits(randn(lower, {3, 3}), slice(x_T, 0, 2, 5)));
    const Tensor first = sampler(process, bent_noise, slice(x_T, 0, 0, 2), upper, 30, {});
    const Tensor second = sampler(process, bent_noise, slice(x_T, 0, 2, 5), lower, 30, {});
    CHECK(same_bits(concat({first, second}, 0), together));
  }
}

TEST_CASE("samplers: clipping keeps every estimate of x_0 inside, and the last one is the result") {
  const GaussianDiffusion process{NoiseSchedule::linear()};
  Rng rng(17, Purpose::sample);
  const Tensor x_T = randn(rng, {4, 3});
  for (const bool clip : {false, true}) {
    double largest = 0.0;
    const Observer observer = [&](const SampleStep& step) {
      largest = std::max(largest, max(abs(step.x0)).item());
      if (step.step == step.steps) CHECK(max_difference(step.x0, step.x_next) < 1e-6);
    };
    const Tensor a = sample_ddpm(
        process, exact_denoiser(process, 4.0), x_T, rng,
        {.steps = 25, .limit_x0 = clip ? X0Limit(clip_x0) : X0Limit{}, .observer = observer});
    const Tensor b = sample_ddim(
        process, exact_denoiser(process, 4.0), x_T, rng,
        {.steps = 25, .limit_x0 = clip ? X0Limit(clip_x0) : X0Limit{}, .observer = observer});
    CHECK((largest <= 1.0) == clip);
    CHECK((max(abs(a)).item() <= 1.0 + 1e-6) == clip);
    CHECK((max(abs(b)).item() <= 1.0 + 1e-6) == clip);
  }
}

TEST_CASE("samplers: the observer sees each step once, and may stop the run") {
  const GaussianDiffusion process{NoiseSchedule::linear(100)};
  Rng rng(18, Purpose::sample);
  const Tensor x_T = randn(rng, {2, 3});
  const Tensor copy = x_T.clone();
  for (const Sampler& sampler : {ddpm(ReverseVariance::beta), ddim(0.0)}) {
    std::int64_t calls = 0;
    Tensor previous = x_T;
    const Tensor x0 = sampler(process, bent_noise, x_T, rng, 10, [&](const SampleStep& step) {
      CHECK(step.step == ++calls);
      CHECK(step.steps == 10);
      CHECK(step.t == 99 - 11 * (calls - 1));
      CHECK(same_bits(step.x_t, previous));
      previous = step.x_next;
    });
    CHECK(calls == 10);
    CHECK(same_bits(x0, previous));
    CHECK(same_bits(x_T, copy));
    struct Stop {};
    CHECK_THROWS_AS(
        sampler(process, bent_noise, x_T, rng, 10, [](const SampleStep&) { throw Stop{}; }), Stop);
  }
}

TEST_CASE("samplers: nothing is recorded, whatever the network does") {
  const GaussianDiffusion process{NoiseSchedule::linear(20)};
  const Tensor weight = parameter(Tensor::full({3}, 0.5));
  const Denoiser model = [&](const Tensor& x, const Tensor&) { return x * weight; };
  Rng rng(19, Purpose::sample);
  const Tensor x_T = randn(rng, {2, 3});
  const std::int64_t before = live_nodes();
  CHECK_FALSE(requires_grad(sample_ddpm(process, model, x_T, rng)));
  CHECK_FALSE(requires_grad(sample_ddim(process, model, x_T, rng, {.steps = 5})));
  CHECK_FALSE(requires_grad(encode_ddim(process, model, x_T, 5)));
  CHECK(live_nodes() == before);
}

TEST_CASE("samplers: wrong options and inputs are refused") {
  const GaussianDiffusion process{NoiseSchedule::linear(100)};
  const Tensor x = Tensor::zeros({2, 3});
  const Rng rng(20);
  CHECK_THROWS_AS(sample_ddpm(process, bent_noise, x, rng, {.steps = 101}), ValueError);
  CHECK_THROWS_AS(sample_ddpm(process, bent_noise, x, rng, {.steps = -1}), ValueError);
  CHECK_THROWS_AS(sample_ddim(process, bent_noise, x, rng, {.steps = 0}), ValueError);
  CHECK_THROWS_AS(sample_ddim(process, bent_noise, x, rng, {.eta = -0.1}), ValueError);
  CHECK_THROWS_AS(sample_ddim(process, bent_noise, x, rng, {.eta = std::nan("")}), ValueError);
  CHECK_THROWS_AS(sample_ddim(process, bent_noise, x, rng, {.steps = 100, .eta = 50.0}),
                  ValueError);
  CHECK_THROWS_AS(sample_ddim(process, bent_noise, Tensor::zeros({2}, DType::u8), rng), DTypeError);
  CHECK_THROWS_AS(sample_ddpm(process, bent_noise, Tensor{}, rng), Error);
  CHECK_THROWS_AS(sample_ddpm(process, bent_noise, Tensor::zeros({}), rng), ShapeError);
}

TEST_CASE("sample_ddpm: with a learned variance each element has its own noise") {
  // Output +1 is beta, -1 is beta_tilde, 0 the geometric mean of the two.
  const GaussianDiffusion process{NoiseSchedule::linear(100)};
  const Denoiser exact = exact_denoiser(process, 0.25);
  const Tensor x_T = Tensor::full({2, 3}, 0.5, DType::f64);
  const Rng rng(23, Purpose::sample);
  const auto with_variance = [&](double v) {
    const Denoiser model = [&, v](const Tensor& x, const Tensor& t) {
      return concat({exact(x, t), Tensor::full(x.shape(), v, DType::f64)}, -1);
    };
    return sample_ddpm(process, model, x_T, rng,
                       {.steps = 20, .variance = ReverseVariance::learned});
  };
  const auto fixed = [&](ReverseVariance variance) {
    return sample_ddpm(process, exact, x_T, rng, {.steps = 20, .variance = variance});
  };
  CHECK(max_difference(with_variance(1.0), fixed(ReverseVariance::beta)) < 1e-12);
  CHECK(max_difference(with_variance(-1.0), fixed(ReverseVariance::beta_tilde)) < 1e-12);
  CHECK(max_difference(with_variance(0.0), fixed(ReverseVariance::beta)) > 1e-3);
  CHECK_THROWS_AS(fixed(ReverseVariance::learned), ValueError);
}

TEST_CASE("samplers: the analytic variance makes x_0 as wide as the data, with any few steps") {
  // N(0, s2): each reverse step of the true process is normal, and its variance is the analytic one.
  const GaussianDiffusion process{NoiseSchedule::linear()};
  const NoiseSchedule& schedule = process.schedule;
  const double s2 = 0.25;
  std::vector<double> mean_squared_eps;
  for (std::int64_t t = 0; t < 1000; ++t) {
    mean_squared_eps.push_back(schedule.one_minus_alpha_bar(t) /
                               marginal_variance(schedule.alpha_bar(t), s2));
  }
  const auto ddpm_with = [&](ReverseVariance variance) -> Sampler {
    return [&, variance](const auto& p, const auto& model, const Tensor& x_T, Rng rng,
                         std::int64_t steps, const Observer& observer) {
      DdpmOptions options{.steps = steps, .variance = variance, .observer = observer};
      if (variance == ReverseVariance::analytic) options.mean_squared_eps = mean_squared_eps;
      return sample_ddpm(p, model, x_T, rng, options);
    };
  };
  const auto ddim_with = [&](double eta) -> Sampler {
    return [&, eta](const auto& p, const auto& model, const Tensor& x_T, Rng rng,
                    std::int64_t steps, const Observer& observer) {
      return sample_ddim(
          p, model, x_T, rng,
          {.steps = steps, .eta = eta, .mean_squared_eps = mean_squared_eps, .observer = observer});
    };
  };
  for (const std::int64_t steps : {3, 10, 50}) {
    // At every timestep on the way, from x_T of that variance; the last step takes the mean.
    for (const Sampler& sampler :
         {ddpm_with(ReverseVariance::analytic), ddim_with(0.0), ddim_with(0.6)}) {
      const Probe p = probe(sampler, process, s2, steps);
      double variance = marginal_variance(schedule.alpha_bar(999), s2);
      for (std::size_t i = 0; i + 1 < p.t.size(); ++i) {
        variance = p.m[i] * p.m[i] * variance + p.v[i];
        CHECK(std::abs(variance - marginal_variance(schedule.alpha_bar(p.t[i + 1]), s2)) < 1e-10);
      }
    }
    const Probe p = probe(ddpm_with(ReverseVariance::beta_tilde), process, s2, steps);
    CHECK(std::abs(p.final_variance - s2) > 1e-3);
  }
  const Tensor x_T = Tensor::full({1, 1}, 0.5, DType::f64);
  const auto refused = [&](const DdpmOptions& options) {
    CHECK_THROWS_AS(sample_ddpm(process, exact_denoiser(process, s2), x_T, Rng(1), options),
                    ValueError);
  };
  refused({.variance = ReverseVariance::analytic});
  refused({.mean_squared_eps = mean_squared_eps});
  CHECK_THROWS_AS(
      sample_ddim(process, exact_denoiser(process, s2), x_T, Rng(1), {.mean_squared_eps = {0.5}}),
      ValueError);
}

TEST_CASE("sample_ddpm: a shift of the mean is the variance of the step times the shift") {
  const GaussianDiffusion process{NoiseSchedule::linear(100)};
  const Denoiser model = exact_denoiser(process, 0.25);
  const Tensor x_T = Tensor::full({1, 2}, 0.5, DType::f64);
  std::vector<Tensor> plain, moved;
  std::vector<std::int64_t> t_of_step;
  const auto run = [&](const ScoreShift& shift, std::vector<Tensor>& path) {
    sample_ddpm(process, model, x_T, Rng(1),
                {.steps = 2, .shift_mean = shift, .observer = [&](const SampleStep& step) {
                   path.push_back(step.x_next.clone());
                 }});
  };
  run({}, plain);
  run(
      [&](const Tensor& x, const Tensor& t) {
        t_of_step.push_back(t.to_vector<std::int64_t>()[0]);
        return Tensor::full(x.shape(), 3.0, x.dtype());
      },
      moved);
  CHECK(t_of_step == std::vector<std::int64_t>{99, 0});
  CHECK(max_difference(moved[0], plain[0] + 3.0 * process.schedule.beta_between(0, 99)) < 1e-14);
}
