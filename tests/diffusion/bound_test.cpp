// The variational bound against what is known of it: the entropy of Gaussian data, divergences from
// their definition, a simulated chain, and probabilities that add up.
#include <doctest/doctest.h>

#include <cmath>
#include <numbers>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "diffusion/denoiser/thresholding.h"
#include "diffusion/likelihood/variational_bound.h"
#include "tensor/error.h"
#include "tests/compare.h"
#include "tests/diffusion/sampler_probe.h"
#include "tests/oracles/gaussian_data.h"
#include "tests/oracles/gaussian_mixture.h"

using namespace ito;
using test::bent_noise;
using test::Chain;
using test::marginal_variance;
using test::max_difference;

namespace {

const double pi = std::numbers::pi, ln2 = std::numbers::ln2;

Tensor same_t(std::int64_t n, std::int64_t t) {
  return Tensor::full({n}, static_cast<double>(t), DType::i64);
}

// E[eps_hat^2] of the best network for N(0, s2), by timestep.
std::vector<double> mean_squared_eps_of(const NoiseSchedule& schedule, double s2) {
  std::vector<double> m;
  for (std::int64_t t = 0; t < schedule.timesteps(); ++t) {
    m.push_back(schedule.one_minus_alpha_bar(t) / marginal_variance(schedule.alpha_bar(t), s2));
  }
  return m;
}

// Entropy of N(0, s2), and KL(q(x_T) || N(0, 1)): no reverse process can do better than their sum.
double entropy(double s2) { return 0.5 * std::log(2.0 * pi * s2) + 0.5; }
double kl_of_the_end(const NoiseSchedule& schedule, double s2) {
  const double variance = marginal_variance(schedule.alpha_bar(schedule.timesteps() - 1), s2);
  return 0.5 * (variance - 1.0 - std::log(variance));
}

// The expectation of the bound for data N(0, s2) under a network linear in x_t. Every term is a
// quadratic form of (x_0, eps), and (+-s, +-1) have the moments of all of them: no sampling error.
double expected_bound(const Chain& process, const Denoiser& model, double s2,
                      BoundOptions options) {
  options.decoder = DiscretizedLikelihood::continuous;
  const VariationalBound bound(process.schedule, options, DType::f64);
  const double s = std::sqrt(s2);
  const Tensor x0 = Tensor::from<double>({s, s, -s, -s}, {4, 1});
  const Tensor eps = Tensor::from<double>({1, -1, 1, -1}, {4, 1});
  double total = mean(bound.prior(x0)).item();
  for (std::int64_t t = 0; t < process.schedule.timesteps(); ++t) {
    total += mean(bound.terms(model, x0, same_t(4, t), eps).nats).item();
  }
  return total;
}

double excess(const Chain& process, double s2, const BoundOptions& options) {
  return expected_bound(process, test::exact_denoiser(process, s2), s2, options) - entropy(s2) -
         kl_of_the_end(process.schedule, s2);
}

Tensor log_normal(const Tensor& x, const Tensor& mean_of, const Tensor& log_variance) {
  return -0.5 * (log_variance + square(x - mean_of) * exp(-log_variance) + std::log(2.0 * pi));
}

}  // namespace

TEST_CASE("bound: with the best mean and variance it is the entropy plus the prior's divergence") {
  for (const auto prediction : {Prediction::epsilon, Prediction::x0, Prediction::v}) {
    for (const NoiseSchedule& schedule :
         {NoiseSchedule::linear(), NoiseSchedule::cosine(), NoiseSchedule::linear(1, 0.3, 0.3),
          NoiseSchedule::linear(7, 0.1, 0.9), NoiseSchedule::cosine(50)}) {
      for (const double s2 : {0.04, 0.25, 1.0}) {
        const Chain process{schedule, prediction};
        const BoundOptions best{.variance = ReverseVariance::analytic,
                                .mean_squared_eps = mean_squared_eps_of(schedule, s2)};
        CAPTURE(schedule.timesteps());
        CAPTURE(s2);
        CHECK(std::abs(excess(process, s2, best)) < 1e-12);
      }
    }
  }
}

TEST_CASE("bound: every other variance, and every other network, costs something") {
  const Chain process{NoiseSchedule::linear()};
  // From a separate program in double precision.
  CHECK(excess(process, 0.25, {.variance = ReverseVariance::beta_tilde}) ==
        doctest::Approx(0.5699259312878).epsilon(1e-10));
  CHECK(excess(process, 0.25, {.variance = ReverseVariance::beta}) ==
        doctest::Approx(0.1146697506381).epsilon(1e-10));
  // The variance that is best for other data.
  const BoundOptions other{.variance = ReverseVariance::analytic,
                           .mean_squared_eps = mean_squared_eps_of(process.schedule, 0.5)};
  CHECK(excess(process, 0.25, other) > 1e-4);
  // The network of other data, with the variance that is best for these.
  const BoundOptions best{.variance = ReverseVariance::analytic,
                          .mean_squared_eps = mean_squared_eps_of(process.schedule, 0.25)};
  const Denoiser wrong = test::exact_denoiser(process, 0.5);
  CHECK(expected_bound(process, wrong, 0.25, best) - entropy(0.25) > 1e-3);
}

TEST_CASE("bound: a term is the divergence of the two reverse steps by its definition") {
  const Chain process{NoiseSchedule::linear(20, 0.01, 0.4)};
  Rng rng(1, Purpose::test);
  const Tensor x0 = randn(rng, {6, 3}, DType::f64), eps = randn(rng, {6, 3}, DType::f64);
  const Tensor between = 0.8 * tanh(randn(rng, {6, 3}, DType::f64));
  const Denoiser model = process.denoiser([&](const Tensor& x_t, const Tensor& t) {
    return concat({bent_noise(x_t, t), between}, -1);
  });
  const std::vector<double> m(20, 0.7);
  for (const auto variance : {ReverseVariance::beta, ReverseVariance::beta_tilde,
                              ReverseVariance::learned, ReverseVariance::analytic}) {
    const VariationalBound bound(process.schedule, {.variance = variance, .mean_squared_eps = m},
                                 DType::f64);
    for (std::int64_t step = 1; step < 20; ++step) {
      const Tensor t = same_t(6, step), x_t = process.add_noise(x0, t, eps);
      const PosteriorStep step_back =
          posterior_step(process.schedule.level(step), process.schedule.level(step - 1));
      const Tensor q_mean = step_back.weight_x0 * x0 + step_back.weight_x_t * x_t;
      const ReverseStep p = bound.reverse_step(model, x_t, t);
      const Tensor ratio = step_back.variance * exp(-p.log_variance);
      const Tensor kl =
          0.5 * (square(q_mean - p.mean) * exp(-p.log_variance) + ratio - 1.0 - log(ratio));
      const BoundTerms terms = bound.terms(model, x0, t, eps);
      CHECK(max_difference(terms.nats, mean(kl, {1})) < 1e-12);
      // The same formula with the variances exchanged is not what the bound has.
      if (variance == ReverseVariance::beta_tilde) continue;  // they are equal
      const Tensor turned =
          0.5 * (square(q_mean - p.mean) / step_back.variance + 1.0 / ratio - 1.0 + log(ratio));
      CHECK(max_difference(terms.nats, mean(turned, {1})) > 1e-6);
    }
  }
}

TEST_CASE("bound: the terms add up to what a simulated chain says of -log p / q") {
  const Chain process{NoiseSchedule::linear(4, 0.1, 0.4)};
  const oracle::GaussianMixture data{{.6, .4}, {{-.5, .3}, {.7, .1}}, {{.05, .1}, {.02, .3}}};
  const VariationalBound bound(
      process.schedule,
      {.variance = ReverseVariance::beta, .decoder = DiscretizedLikelihood::continuous},
      DType::f64);
  const std::int64_t n = 100'000;
  Rng rng(2, Purpose::test);
  const Tensor x0 = data.draw(rng, n);
  Tensor x = x0, chain = Tensor::zeros({n}, DType::f64);
  for (std::int64_t i = 0; i < 4; ++i) {
    const Tensor t = same_t(n, i), before = x;
    const double beta = process.schedule.beta(i);
    x = std::sqrt(1.0 - beta) * before + std::sqrt(beta) * randn(rng, x.shape(), DType::f64);
    const Tensor log_beta = Tensor::scalar(std::log(beta), DType::f64);
    const Tensor q = log_normal(x, std::sqrt(1.0 - beta) * before, log_beta);
    const ReverseStep p = bound.reverse_step(process.denoiser(bent_noise), x, t);
    chain = chain + mean(q - log_normal(before, p.mean, p.log_variance), {1});
  }
  const Tensor zero = Tensor::scalar(0.0, DType::f64);
  chain = chain - mean(log_normal(x, zero, zero), {1});

  const BoundTable table = bound.evaluate(process.denoiser(bent_noise), x0, Rng(3, Purpose::test));
  const Tensor terms = Tensor::from(table.of_image, {n});
  const Tensor difference = chain - terms;  // for the same x_0, with other noise
  const double error = std::sqrt(mean(square(difference)).item() / static_cast<double>(n));
  CHECK(std::abs(mean(difference).item()) < 4.0 * error);
  CHECK(error < 0.01);
  CHECK(mean(terms).item() == doctest::Approx(table.total()).epsilon(1e-12));
  // Without the prior, or without the decoder, they do not.
  CHECK(std::abs(mean(difference).item() + table.prior) > 4.0 * error);
  CHECK(std::abs(mean(difference).item() + table.nats[0]) > 4.0 * error);
}

TEST_CASE("bound: never below the true -log likelihood, and close to it with many steps") {
  const oracle::GaussianMixture data{{.6, .4}, {{-.5}, {.7}}, {{.05}, {.02}}};
  const Chain process{NoiseSchedule::linear(200, 5e-4, 0.1)};
  Rng rng(4, Purpose::test);
  const Tensor x0 = data.draw(rng, 4000);
  const Tensor one = Tensor::scalar(1.0, DType::f64), zero = Tensor::scalar(0.0, DType::f64);
  const double truth = -mean(data.log_density(x0, {{}, one, zero})).item();
  const VariationalBound bound(
      process.schedule,
      {.variance = ReverseVariance::beta, .decoder = DiscretizedLikelihood::continuous},
      DType::f64);
  const double gap = bound.evaluate(oracle::exact_denoiser(process, data), x0, rng).total() - truth;
  const Denoiser half_the_noise = [&](const Tensor& x, const Levels& levels) {
    const Tensor eps = 0.5 * oracle::exact_denoiser(process, data)(x, levels).eps;
    return process.parametrization().denoised(eps, x, levels);
  };
  const double gap_of_bad = bound.evaluate(half_the_noise, x0, rng).total() - truth;
  MESSAGE("gap ", gap, " nats, of half the noise ", gap_of_bad);
  CHECK(gap > 0.0);
  CHECK(gap < 0.15);
  CHECK(gap_of_bad > 1.0);
}

TEST_CASE("bound: evaluate() is terms() at every t, whatever the batches") {
  const Chain process{NoiseSchedule::linear(8, 0.01, 0.6)};
  const VariationalBound bound(process.schedule, {});
  const Denoiser clipped = thresholded(process.denoiser(bent_noise), clip_x0);
  Rng data(5, Purpose::test);
  const Tensor x0 = tanh(randn(data, {5, 3}));
  const Rng rng(6, Purpose::noise);
  const BoundTable table = bound.evaluate(clipped, x0, rng);
  double total = mean(bound.prior(x0)).item();
  for (std::int64_t t = 0; t < 8; ++t) {
    Rng noise = rng;
    noise.seek(static_cast<std::uint64_t>(t) + 1);
    const BoundTerms terms = bound.terms(clipped, x0, same_t(5, t), randn(noise, {5, 3}));
    const auto i = static_cast<std::size_t>(t);
    CHECK(table.nats[i] == doctest::Approx(mean(terms.nats).item()).epsilon(1e-6));
    CHECK(table.x0_error[i] == doctest::Approx(mean(terms.x0_error).item()).epsilon(1e-6));
    CHECK(table.eps_error[i] == doctest::Approx(mean(terms.eps_error).item()).epsilon(1e-6));
    total += mean(terms.nats).item();
  }
  CHECK(table.total() == doctest::Approx(total).epsilon(1e-6));
  CHECK(table.bits_per_dimension() == doctest::Approx(total / ln2).epsilon(1e-6));
  CHECK(table.rate(7) == table.prior);
  CHECK(table.rate(0) == doctest::Approx(total - table.nats[0]).epsilon(1e-6));

  BoundTable cut = bound.evaluate(clipped, slice(x0, 0, 0, 2), rng);
  Rng later = rng;
  later.seek(0, 2);
  cut.add(bound.evaluate(clipped, slice(x0, 0, 2, 5), later));
  CHECK(cut.of_image == table.of_image);
  CHECK(cut.total() == doctest::Approx(table.total()).epsilon(1e-12));
  CHECK(cut.nats[3] == doctest::Approx(table.nats[3]).epsilon(1e-12));
  CHECK(cut.images() == 5);
}

TEST_CASE("bound: an estimate from a few timesteps of each image has the mean of the whole") {
  const Chain process{NoiseSchedule::linear(100, 0.002, 0.2)};
  const oracle::GaussianMixture data{{.6, .4}, {{-.5}, {.7}}, {{.05}, {.02}}};
  const Denoiser model = oracle::exact_denoiser(process, data);
  const VariationalBound bound(process.schedule, {.decoder = DiscretizedLikelihood::continuous},
                               DType::f64);
  Rng rng(8, Purpose::test);
  const std::int64_t n = 4000;
  const Tensor x0 = data.draw(rng, n);
  const BoundTable whole = bound.evaluate(model, x0, rng);
  double spread_of_3 = 0.0;
  for (const std::int64_t draws : {3, 12}) {
    const BoundTable few = bound.estimate(model, x0, rng, draws);
    // Nearly all of the difference is the estimate's noise, for the same images.
    std::vector<double> difference;
    for (std::size_t i = 0; i < few.of_image.size(); ++i) {
      difference.push_back(few.of_image[i] - whole.of_image[i]);
    }
    const Tensor d = Tensor::from(difference, {n});
    const double spread = std::sqrt(mean(square(d)).item()), error = spread / std::sqrt(double(n));
    CHECK(std::abs(few.total() - whole.total()) < 4.0 * error);
    CHECK(few.total() == doctest::Approx(mean(Tensor::from(few.of_image, {n})).item()));
    for (const std::int64_t t : {0, 3, 20, 60}) {  // and so have sums of terms
      CHECK(std::abs(few.rate(t) - whole.rate(t)) < 5.0 * error);
    }
    CHECK(std::abs(few.total() - few.nats[0] - whole.total()) > 4.0 * error);  // not without it
    if (draws == 3) spread_of_3 = spread;
    if (draws == 12) CHECK(spread < 0.75 * spread_of_3);
  }
  Rng later = rng;
  later.seek(0, 1000);
  BoundTable cut = bound.estimate(model, slice(x0, 0, 0, 1000), rng, 3);
  cut.add(bound.estimate(model, slice(x0, 0, 1000, n), later, 3));
  CHECK(cut.of_image == bound.estimate(model, x0, rng, 3).of_image);
  CHECK_THROWS_AS(bound.estimate(model, x0, rng, 0), ValueError);
}

TEST_CASE("bound: f32 follows f64") {
  const Chain process{NoiseSchedule::linear()};
  Rng rng(7, Purpose::test);
  const Tensor x0 = tanh(randn(rng, {64, 5}, DType::f64));
  for (const auto variance : {ReverseVariance::beta, ReverseVariance::beta_tilde}) {
    const VariationalBound wide(process.schedule, {.variance = variance}, DType::f64);
    const VariationalBound narrow(process.schedule, {.variance = variance});
    const Denoiser wide_model = test::exact_denoiser(process, 0.4);
    for (const std::int64_t step : {0, 1, 30, 500, 999}) {
      const Tensor eps = randn(rng, {64, 5}, DType::f64), t = same_t(64, step);
      const double exact = mean(wide.terms(wide_model, x0, t, eps).nats).item();
      const double rounded =
          mean(narrow.terms(wide_model, cast(x0, DType::f32), t, cast(eps, DType::f32)).nats)
              .item();
      CHECK(rounded == doctest::Approx(exact).epsilon(1e-3));
    }
  }
}

TEST_CASE("bound: what does not fit is refused") {
  const Chain process{NoiseSchedule::linear(10)};
  CHECK_THROWS_AS(VariationalBound(process.schedule, {.variance = ReverseVariance::analytic}),
                  ValueError);
  const VariationalBound learned(process.schedule, {.variance = ReverseVariance::learned});
  const Tensor x0 = Tensor::zeros({2, 3});
  CHECK_THROWS_AS(learned.evaluate(process.denoiser(bent_noise), x0, Rng(0)), ValueError);
  const VariationalBound bound(process.schedule, {});
  CHECK_THROWS_AS(bound.terms(process.denoiser(bent_noise), x0, same_t(2, 10), x0), ValueError);
  BoundTable ten = bound.evaluate(process.denoiser(bent_noise), x0, Rng(0));
  const VariationalBound shorter(NoiseSchedule::linear(9), {});
  CHECK_THROWS_AS(ten.add(shorter.evaluate(process.denoiser(bent_noise), x0, Rng(0))), ValueError);
}

// ---- the decoder

namespace {

Tensor all_levels() {
  std::vector<double> levels(256);
  for (std::size_t k = 0; k < 256; ++k) levels[k] = static_cast<double>(k) / 127.5 - 1.0;
  return Tensor::from(levels, {256});
}

Tensor scalar(double x) { return Tensor::scalar(x, DType::f64); }

double bits(double x0, double mean_of, double std, DiscretizedLikelihood decoder) {
  return -decoder_log_probability(scalar(x0), scalar(mean_of), scalar(2.0 * std::log(std)), decoder)
              .item() /
         ln2;
}

}  // namespace

TEST_CASE("decoder: known values in the middle and at the edge") {
  const NoiseSchedule schedule = NoiseSchedule::linear();
  const double std = std::sqrt(schedule.beta_tilde(1)), center = 127.0 / 127.5 - 1.0;
  CHECK(std == doctest::Approx(0.00738457).epsilon(1e-6));
  CHECK(bits(center, center, std, DiscretizedLikelihood::tanh_bins) ==
        doctest::Approx(1.305666).epsilon(1e-6));
  CHECK(bits(center, center, std, DiscretizedLikelihood::erf_bins) ==
        doctest::Approx(1.305378).epsilon(1e-6));
  CHECK(bits(center, center, 0.01, DiscretizedLikelihood::tanh_bins) ==
        doctest::Approx(1.713015).epsilon(1e-6));
  CHECK(bits(center, center, 0.01, DiscretizedLikelihood::erf_bins) ==
        doctest::Approx(1.712846).epsilon(1e-6));
  for (const double edge : {-1.0, 1.0}) {
    CHECK(bits(edge, edge, std, DiscretizedLikelihood::tanh_bins) ==
          doctest::Approx(0.509908).epsilon(1e-6));
  }
}

TEST_CASE("decoder: the probabilities of the 256 levels add up to 1") {
  for (const auto decoder : {DiscretizedLikelihood::tanh_bins, DiscretizedLikelihood::erf_bins}) {
    for (const double mean_of : {-1.3, -1.0, -0.31, 0.0, 0.7, 1.0, 2.0}) {
      for (const double std : {0.001, 0.00738, 0.1, 1.0}) {
        const Tensor log_p = decoder_log_probability(all_levels(), scalar(mean_of),
                                                     scalar(2.0 * std::log(std)), decoder);
        CHECK(std::abs(sum(exp(log_p)).item() - 1.0) < 1e-9);  // 256 floors of 1e-12 among them
      }
    }
  }
  // Bins that are closed at the edges lose what lies outside.
  const Tensor levels = all_levels();
  const double closed = sum(0.5 * (erf((levels + 1.0 / 255.0) / std::sqrt(2.0)) -
                                   erf((levels - 1.0 / 255.0) / std::sqrt(2.0))))
                            .item();
  CHECK(closed < 0.7);
}

TEST_CASE("decoder: narrow bins under a wide normal have its density") {
  for (const double x : {-0.6, 0.1, 0.5}) {
    const Tensor p = decoder_log_probability(scalar(x), scalar(0.2), scalar(std::log(0.25)),
                                             DiscretizedLikelihood::erf_bins);
    const Tensor density = decoder_log_probability(scalar(x), scalar(0.2), scalar(std::log(0.25)),
                                                   DiscretizedLikelihood::continuous);
    CHECK(p.item() == doctest::Approx(density.item() + std::log(2.0 / 255.0)).epsilon(1e-5));
  }
}

TEST_CASE("decoder: far from the mean the probability keeps its digits in f32, and has a floor") {
  const double level = 50.0 / 127.5 - 1.0;
  for (const double mean_of : {level + 0.035, level - 0.035}) {
    const auto log_p = [&](DType dtype) {
      return decoder_log_probability(Tensor::scalar(level, dtype), Tensor::scalar(mean_of, dtype),
                                     Tensor::scalar(2.0 * std::log(0.006), dtype),
                                     DiscretizedLikelihood::tanh_bins)
          .item();
    };
    CHECK(log_p(DType::f64) < std::log(1e-6));
    CHECK(log_p(DType::f32) == doctest::Approx(log_p(DType::f64)).epsilon(1e-4));
  }
  CHECK(bits(0.5, -0.5, 0.01, DiscretizedLikelihood::tanh_bins) ==
        doctest::Approx(-std::log2(1e-12)));
}
