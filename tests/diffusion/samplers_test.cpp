// sample_ddim against the closed forms of Gaussian data, and what holds for every sampler.
#include "diffusion/sampling/samplers.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/engine.h"
#include "autograd/ops/reduce.h"
#include "diffusion/denoiser/thresholding.h"
#include "tensor/error.h"
#include "tests/compare.h"
#include "tests/diffusion/sampler_probe.h"
#include "tests/oracles/chain.h"

using namespace ito;
using test::bent_noise;
using test::both_schedules;
using test::Chain;
using test::ddim;
using test::ddpm;
using test::exact_denoiser;
using test::marginal_variance;
using test::max_difference;
using test::Probe;
using test::probe;
using test::same_bits;
using test::Sampler;

TEST_CASE("sample_ddim: with eta = 1 and all steps it walks the path of DDPM with beta_tilde") {
  for (const NoiseSchedule& schedule : both_schedules()) {
    const Chain process{schedule};
    const Rng rng(13, Purpose::sample);
    Rng start = rng;
    const Tensor x_T = randn(start, {3, 2}, DType::f64);
    std::vector<Tensor> path;
    const Observer keep = [&](const SampleStep& step) { path.push_back(step.x_next); };
    ddpm(ReverseVariance::beta_tilde)(process, process.denoiser(bent_noise), x_T, rng, 1000, keep);
    REQUIRE(path.size() == 1000);
    std::size_t i = 0;
    // Rounding is relative to the largest numbers: estimates of x_0, which are divided by alpha and
    // reach 250 (linear) and 3e4 (cosine).
    double worst = 0.0, size = 1.0;
    ddim(1.0)(process, process.denoiser(bent_noise), x_T, rng, 1000, [&](const SampleStep& step) {
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
      const Chain process{NoiseSchedule::linear(), Prediction::x0};
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
  const Chain process{NoiseSchedule::linear()};
  Rng rng(14, Purpose::sample);
  const Tensor x_T = randn(rng, {4, 3});
  const Tensor a = sample_ddim(process.denoiser(bent_noise), x_T, process.walk(20), rng);
  const Tensor b = sample_ddim(process.denoiser(bent_noise), x_T, process.walk(20), rng);
  const Tensor c =
      sample_ddim(process.denoiser(bent_noise), x_T, process.walk(20), Rng(99, Purpose::test));
  CHECK(same_bits(a, b));
  CHECK(same_bits(a, c));
  const DdimOptions noisy{.eta = 0.5};
  const Tensor d = sample_ddim(process.denoiser(bent_noise), x_T, process.walk(20), rng, noisy);
  CHECK(same_bits(d, sample_ddim(process.denoiser(bent_noise), x_T, process.walk(20), rng, noisy)));
  CHECK(max_difference(d, sample_ddim(process.denoiser(bent_noise), x_T, process.walk(20), Rng(99),
                                      noisy)) > 1e-2);
}

TEST_CASE("sample_ddim: encoding and decoding has the error of a method of first order") {
  const Chain process{NoiseSchedule::linear()};
  const Denoiser model = exact_denoiser(process, 0.25);
  const Tensor x0 = Tensor::full({1, 1}, 0.7, DType::f64);
  const auto error = [&](std::int64_t steps) {
    const Tensor x_T = encode_ddim(process.denoiser(model), x0, process.walk(steps));
    const Tensor back = sample_ddim(process.denoiser(model), x_T, process.walk(steps), Rng(0));
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
        const Chain process{NoiseSchedule::linear(), prediction};
        const Network model = [&](const Tensor& x_t, const Tensor& t) {
          const Levels level = process.levels(cast(t, DType::i64), x_t);
          const Tensor eps = bent_noise(x_t, t);
          return target(prediction, x0_from_epsilon(eps, x_t, level), eps, level);
        };
        results.push_back(sampler(process, process.denoiser(model), x_T, rng, steps, {}));
      }
      const double size = max(abs(results[0])).item();
      for (const Tensor& result : results) {
        CHECK(max_difference(result, results[0]) < 1e-12 * (1 + size));
      }
    }
  }
}

TEST_CASE("samplers: cutting a batch in two changes nothing") {
  const Chain process{NoiseSchedule::linear()};
  for (const Sampler& sampler : {ddpm(ReverseVariance::beta), ddim(1.0)}) {
    Rng rng(16, Purpose::sample);
    const Tensor x_T = randn(rng, {5, 3});
    const Tensor together = sampler(process, process.denoiser(bent_noise), x_T, rng, 30, {});
    Rng upper(16, Purpose::sample), lower(16, Purpose::sample);
    lower.seek(0, 2);
    CHECK(same_bits(randn(lower, {3, 3}), slice(x_T, 0, 2, 5)));
    const Tensor first =
        sampler(process, process.denoiser(bent_noise), slice(x_T, 0, 0, 2), upper, 30, {});
    const Tensor second =
        sampler(process, process.denoiser(bent_noise), slice(x_T, 0, 2, 5), lower, 30, {});
    CHECK(same_bits(concat({first, second}, 0), together));
  }
}

TEST_CASE("samplers: clipping keeps every estimate of x_0 inside, and the last one is the result") {
  const Chain process{NoiseSchedule::linear()};
  Rng rng(17, Purpose::sample);
  const Tensor x_T = randn(rng, {4, 3});
  for (const bool clip : {false, true}) {
    double largest = 0.0;
    const Observer observer = [&](const SampleStep& step) {
      largest = std::max(largest, max(abs(step.x0)).item());
      if (step.step == step.steps) CHECK(max_difference(step.x0, step.x_next) < 1e-6);
    };
    const Tensor a = sample_ddpm(thresholded(process.denoiser(exact_denoiser(process, 4.0)),
                                             clip ? Thresholding(clip_x0) : Thresholding{}),
                                 x_T, process.walk(25), rng, {.loop = {.observer = observer}});
    const Tensor b = sample_ddim(thresholded(process.denoiser(exact_denoiser(process, 4.0)),
                                             clip ? Thresholding(clip_x0) : Thresholding{}),
                                 x_T, process.walk(25), rng, {.loop = {.observer = observer}});
    CHECK((largest <= 1.0) == clip);
    CHECK((max(abs(a)).item() <= 1.0 + 1e-6) == clip);
    CHECK((max(abs(b)).item() <= 1.0 + 1e-6) == clip);
  }
}

TEST_CASE("samplers: the observer sees each step once, and may stop the run") {
  const Chain process{NoiseSchedule::linear(100)};
  Rng rng(18, Purpose::sample);
  const Tensor x_T = randn(rng, {2, 3});
  const Tensor copy = x_T.clone();
  for (const Sampler& sampler : {ddpm(ReverseVariance::beta), ddim(0.0)}) {
    std::int64_t calls = 0;
    Tensor previous = x_T;
    const Tensor x0 =
        sampler(process, process.denoiser(bent_noise), x_T, rng, 10, [&](const SampleStep& step) {
          CHECK(step.step == ++calls);
          CHECK(step.steps == 10);
          CHECK(step.from.time == static_cast<double>(99 - 11 * (calls - 1)));
          CHECK(same_bits(step.x_t, previous));
          previous = step.x_next;
        });
    CHECK(calls == 10);
    CHECK(same_bits(x0, previous));
    CHECK(same_bits(x_T, copy));
    struct Stop {};
    CHECK_THROWS_AS(sampler(process, process.denoiser(bent_noise), x_T, rng, 10,
                            [](const SampleStep&) { throw Stop{}; }),
                    Stop);
  }
}

TEST_CASE("samplers: nothing is recorded, whatever the network does") {
  const Chain process{NoiseSchedule::linear(20)};
  const Tensor weight = parameter(Tensor::full({3}, 0.5));
  const Network model = [&](const Tensor& x, const Tensor&) { return x * weight; };
  Rng rng(19, Purpose::sample);
  const Tensor x_T = randn(rng, {2, 3});
  const std::int64_t before = live_nodes();
  CHECK_FALSE(requires_grad(sample_ddpm(process.denoiser(model), x_T, process.walk(), rng)));
  CHECK_FALSE(requires_grad(sample_ddim(process.denoiser(model), x_T, process.walk(5), rng)));
  CHECK_FALSE(requires_grad(encode_ddim(process.denoiser(model), x_T, process.walk(5))));
  CHECK(live_nodes() == before);
}

TEST_CASE("samplers: wrong options and inputs are refused") {
  const Chain process{NoiseSchedule::linear(100)};
  const Tensor x = Tensor::zeros({2, 3});
  const Rng rng(20);
  CHECK_THROWS_AS(sample_ddpm(process.denoiser(bent_noise), x, process.walk(101), rng), ValueError);
  CHECK_THROWS_AS(sample_ddpm(process.denoiser(bent_noise), x, process.walk(-1), rng), ValueError);
  CHECK_THROWS_AS(process.walk(101), ValueError);
  CHECK_THROWS_AS(
      sample_ddim(process.denoiser(bent_noise), x, process.walk(50), rng, {.eta = -0.1}),
      ValueError);
  CHECK_THROWS_AS(
      sample_ddim(process.denoiser(bent_noise), x, process.walk(50), rng, {.eta = std::nan("")}),
      ValueError);
  CHECK_THROWS_AS(
      sample_ddim(process.denoiser(bent_noise), x, process.walk(100), rng, {.eta = 50.0}),
      ValueError);
  CHECK_THROWS_AS(sample_ddim(process.denoiser(bent_noise), Tensor::zeros({2}, DType::u8),
                              process.walk(50), rng),
                  DTypeError);
  CHECK_THROWS_AS(sample_ddpm(process.denoiser(bent_noise), Tensor{}, process.walk(), rng), Error);
  CHECK_THROWS_AS(sample_ddpm(process.denoiser(bent_noise), Tensor::zeros({}), process.walk(), rng),
                  ShapeError);
}

TEST_CASE("samplers: the analytic variance makes x_0 as wide as the data, with any few steps") {
  // N(0, s2): each reverse step of the true process is normal, and its variance is the analytic
  // one.
  const Chain process{NoiseSchedule::linear()};
  const NoiseSchedule& schedule = process.schedule;
  const double s2 = 0.25;
  const auto mean_squared_eps = [&](std::int64_t steps) {
    std::vector<double> m;
    for (const Level& level : process.walk(steps)) {
      const double noise = level.sigma * level.sigma;
      if (!level.is_clean()) m.push_back(noise / (level.alpha * level.alpha * s2 + noise));
    }
    return m;
  };
  const auto ddpm_with = [&](ReverseVariance variance) -> Sampler {
    return [&, variance](const auto& p, const auto& model, const Tensor& x_T, Rng rng,
                         std::int64_t steps, const Observer& observer) {
      DdpmOptions options{.variance = variance, .loop = {.observer = observer}};
      if (variance == ReverseVariance::analytic) options.mean_squared_eps = mean_squared_eps(steps);
      return sample_ddpm(model, x_T, p.walk(steps), rng, options);
    };
  };
  const auto ddim_with = [&](double eta) -> Sampler {
    return [&, eta](const auto& p, const auto& model, const Tensor& x_T, Rng rng,
                    std::int64_t steps, const Observer& observer) {
      return sample_ddim(model, x_T, p.walk(steps), rng,
                         {.eta = eta,
                          .mean_squared_eps = mean_squared_eps(steps),
                          .loop = {.observer = observer}});
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
    CHECK_THROWS_AS(sample_ddpm(process.denoiser(exact_denoiser(process, s2)), x_T, process.walk(),
                                Rng(1), options),
                    ValueError);
  };
  refused({.variance = ReverseVariance::analytic});
  refused({.mean_squared_eps = mean_squared_eps(1000)});
  CHECK_THROWS_AS(sample_ddim(process.denoiser(exact_denoiser(process, s2)), x_T, process.walk(50),
                              Rng(1), {.mean_squared_eps = {0.5}}),
                  ValueError);
}

TEST_CASE("samplers: levels that are no way from noise to image are refused") {
  const Denoiser model = test::exact_denoiser(Chain{NoiseSchedule::linear(1)}, 0.25);
  const Tensor x = Tensor::full({2, 1}, 1.0, DType::f64);
  const NoiseSchedule schedule = NoiseSchedule::linear(100);
  const auto refused = [&](const std::vector<Level>& levels, const char* text) {
    CHECK_THROWS_WITH_AS(sample_euler(model, x, levels), doctest::Contains(text), ValueError);
    CHECK_THROWS_WITH_AS(sample_ddim(model, x, levels, Rng(0)), doctest::Contains(text),
                         ValueError);
    CHECK_THROWS_WITH_AS(sample_dpmpp_2m(model, x, levels), doctest::Contains(text), ValueError);
  };
  const Level a = schedule.level(90), b = schedule.level(50), clean = Level::clean();
  refused({a, b, b, clean}, "in one direction");
  refused({a, clean, clean}, "in one direction");
  refused({clean, clean}, "in one direction");
  refused({b, a, clean}, "in one direction");
  Level timeless = b;
  timeless.time = std::numeric_limits<double>::quiet_NaN();
  refused({a, timeless, clean}, "time");
}
