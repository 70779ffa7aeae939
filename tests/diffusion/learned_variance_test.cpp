// Training with the bound: where gradients go, where a learned variance ends, and that drawing
// timesteps by importance changes the spread of an estimate and not its mean.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "diffusion/objective/hybrid_loss.h"
#include "diffusion/objective/timestep_sampler.h"
#include "nn/adam.h"
#include "nn/flat.h"
#include "nn/lr_schedule.h"
#include "tensor/error.h"
#include "tests/oracles/gaussian_data.h"

using namespace ito;
using test::Chain;
using test::marginal_variance;

namespace {

double largest(const Tensor& x) { return max(abs(x)).item(); }

// A variance for each timestep, to be learned.
struct VarianceTable {
  Tensor of_t;
  template <class V>
  void visit(V&& v) {
    v("of_t", of_t);
  }
};

}  // namespace

TEST_CASE("variance_losses: the mean gets no gradient at all, the variance that of the bound") {
  const Chain process{NoiseSchedule::linear(50, 1e-3, 0.2), Prediction::v};
  const VariationalBound bound(process.schedule, {.variance = ReverseVariance::learned},
                               DType::f64);
  Rng rng(1, Purpose::test);
  const Tensor x0 = tanh(randn(rng, {30, 4, 2}, DType::f64));
  const Tensor eps = randn(rng, {30, 4, 2}, DType::f64), t = randint(rng, 0, 50, {30});
  const Tensor x_t = process.add_noise(x0, t, eps);
  const Tensor prediction = parameter(randn(rng, {30, 4, 2}, DType::f64));
  const Tensor variance = parameter(0.5 * randn(rng, {30, 4, 2}, DType::f64));
  const Tensor output = concat({prediction, variance});

  const Denoised d = process.parametrization().denoised(output, x_t, process.levels(t, x_t));
  const Tensor held = variance_losses(bound, d, x_t, x0, t, eps);
  const Tensor whole = bound_losses(bound, d, x_t, x0, t, eps);
  CHECK(largest(1000.0 * held - whole) < 1e-12 * largest(whole));
  const auto of_held = grad(sum(held), {prediction, variance}, {.retain_graph = true});
  const auto of_whole = grad(sum(whole), {prediction, variance}, {.retain_graph = true});
  CHECK(largest(of_held[0]) == 0.0);
  CHECK(largest(of_whole[0]) > 0.1);
  CHECK(largest(of_held[1]) > 0.0);
  CHECK(largest(1000.0 * of_held[1] - of_whole[1]) < 1e-12 * largest(of_whole[1]));
  // L_hybrid teaches the mean by L_simple alone.
  const Tensor simple = process.losses_of(output, x0, t, eps);
  const auto of_simple = grad(sum(simple), {prediction, variance}, {.retain_graph = true});
  const auto of_hybrid = grad(sum(simple + held), {prediction, variance});
  CHECK(largest(of_hybrid[0] - of_simple[0]) == 0.0);
  CHECK(largest(of_simple[1]) == 0.0);
}

TEST_CASE("variance_losses: it is the bound in bits") {
  const Chain process{NoiseSchedule::linear(8, 0.01, 0.4)};
  const VariationalBound bound(process.schedule, {.variance = ReverseVariance::learned},
                               DType::f64);
  Rng rng(2, Purpose::test);
  const Tensor x0 = tanh(randn(rng, {8, 3}, DType::f64)), eps = randn(rng, {8, 3}, DType::f64);
  const Tensor t = Tensor::from<std::int64_t>({0, 1, 2, 3, 4, 5, 6, 7}, {8});
  const Tensor x_t = process.add_noise(x0, t, eps), output = randn(rng, {8, 6}, DType::f64);
  const Denoised d = process.parametrization().denoised(output, x_t, process.levels(t, x_t));
  const Tensor terms = bound.terms_of(d, x_t, x0, t, eps).nats;
  const double sum_of_terms = sum(terms).item() / std::numbers::ln2;
  CHECK(mean(bound_losses(bound, d, x_t, x0, t, eps)).item() ==
        doctest::Approx(sum_of_terms).epsilon(1e-12));
}

TEST_CASE("learned variance: trained on Gaussian data it closes the gap of the bound") {
  const double s2 = 0.25, s = 0.5;
  const Chain process{NoiseSchedule::linear()};
  const std::int64_t T = 1000;
  // Each timestep with all second moments of (x_0, eps): the exact expectation, in one batch.
  std::vector<double> points, noises;
  std::vector<std::int64_t> timesteps;
  for (std::int64_t t = 0; t < T; ++t) {
    for (const double sign : {1.0, -1.0}) {
      points.insert(points.end(), {sign * s, sign * s});
      noises.insert(noises.end(), {1.0, -1.0});
      timesteps.insert(timesteps.end(), {t, t});
    }
  }
  const Tensor x0 = Tensor::from(points, {4 * T, 1}), eps = Tensor::from(noises, {4 * T, 1});
  const Tensor t = Tensor::from(timesteps, {4 * T}), x_t = process.add_noise(x0, t, eps);
  Denoised denoised = process.denoise(test::exact_denoiser(process, s2), x_t, t);
  const VariationalBound bound(
      process.schedule,
      {.variance = ReverseVariance::learned, .decoder = DiscretizedLikelihood::continuous},
      DType::f64);
  const double least = 0.5 * std::log(2.0 * std::numbers::pi * s2) + 0.5;
  const double of_end = marginal_variance(process.schedule.alpha_bar(T - 1), s2);
  const double kl_of_end = 0.5 * (of_end - 1.0 - std::log(of_end));
  const double prior = mean(bound.prior(x0)).item();

  VarianceTable table{parameter(Tensor::full({T, 1}, -1.0))};  // starts at beta_tilde
  nn::FlatParameters flat(table);
  nn::Adam adam(flat);
  const auto excess = [&](const Tensor& losses) {
    return mean(losses).item() * std::numbers::ln2 + prior - least - kl_of_end;
  };
  const auto losses = [&] {
    denoised.variance = gather(cast(table.of_t, DType::f64), t);
    return variance_losses(bound, denoised, x_t, x0, t, eps) * 1000.0;
  };
  const double before = excess(losses());
  CHECK(before == doctest::Approx(0.5699259312878).epsilon(1e-9));
  const int steps = 400;
  const auto lr = nn::LrSchedule::cosine(0.1, 0, steps);
  for (int i = 0; i < steps; ++i) {
    flat.zero_grad();
    backward(mean(losses()));
    adam.step(lr(i));
  }
  const double after = excess(losses());
  MESSAGE("excess over the entropy: ", before, " nats before, ", after, " after");
  CHECK(after < 1e-4);
  CHECK(after > -1e-9);

  const std::vector<float> learned = table.of_t.to_vector<float>();
  for (const std::int64_t at : {0, 1, 5, 50}) {  // later beta and beta_tilde are nearly one
    const double alpha_bar = process.schedule.alpha_bar(at);
    const double low = process.schedule.log_beta_tilde_clipped(at);
    const double high = std::log(process.schedule.beta(at));
    const double got =
        low + 0.5 * (double{learned[static_cast<std::size_t>(at)]} + 1) * (high - low);
    const double of_before =
        marginal_variance(at == 0 ? 1.0 : process.schedule.alpha_bar(at - 1), s2);
    const double wanted = process.schedule.beta(at) * of_before / marginal_variance(alpha_bar, s2);
    CHECK(got == doctest::Approx(std::log(wanted)).epsilon(2e-4));
  }
}

// ---- which timesteps

namespace {

// Losses as the bound has them: large at first, and small for nearly all of the rest.
double loss_at(std::int64_t t) { return 3.0 / (1.0 + static_cast<double>(t * t)); }

TimestepSampler with_full_history(std::int64_t T) {
  TimestepSampler sampler(T, 3);
  for (int repeat = 0; repeat < 5; ++repeat) {  // the older two are forgotten
    for (std::int64_t t = 0; t < T; ++t) {
      sampler.update({t}, {repeat < 2 ? 77.0F : static_cast<float>(loss_at(t))});
    }
  }
  return sampler;
}

}  // namespace

TEST_CASE("timestep sampler: uniform until each timestep has its history, then by size") {
  TimestepSampler sampler(20, 3);
  for (const double p : sampler.probabilities()) CHECK(p == doctest::Approx(0.05));
  for (std::int64_t t = 0; t < 19; ++t) sampler.update({t, t, t}, {5.0F, 5.0F, 5.0F});
  sampler.update({19, 19}, {1.0F, 1.0F});
  CHECK(sampler.probabilities()[0] == doctest::Approx(0.05));
  sampler.update({19}, {1.0F});
  CHECK(sampler.probabilities()[0] == doctest::Approx(0.999 * 5.0 / 96.0 + 0.001 / 20));
  CHECK(sampler.probabilities()[19] == doctest::Approx(0.999 * 1.0 / 96.0 + 0.001 / 20));

  const auto p = with_full_history(20).probabilities();
  double all = 0.0, sum_of_p = 0.0;
  for (std::int64_t t = 0; t < 20; ++t) all += loss_at(t);
  for (std::int64_t t = 0; t < 20; ++t) {
    const auto i = static_cast<std::size_t>(t);
    CHECK(p[i] == doctest::Approx(0.999 * loss_at(t) / all + 0.001 / 20).epsilon(1e-6));
    sum_of_p += p[i];
  }
  CHECK(sum_of_p == doctest::Approx(1.0).epsilon(1e-12));
}

TEST_CASE("timestep sampler: weighted losses keep the mean of uniform draws, with less spread") {
  const std::int64_t T = 20, n = 40'000;
  const TimestepSampler sampler = with_full_history(T);
  const std::vector<double> p = sampler.probabilities();
  double full = 0.0, exact = 0.0;
  for (std::int64_t t = 0; t < T; ++t) {
    const double weight = 1.0 / (static_cast<double>(T) * p[static_cast<std::size_t>(t)]);
    full += loss_at(t) / static_cast<double>(T);
    exact += p[static_cast<std::size_t>(t)] * weight * loss_at(t);
  }
  CHECK(exact == doctest::Approx(full).epsilon(1e-12));

  Rng rng(3, Purpose::timestep);
  const TimestepSampler::Draw draw = sampler.draw(rng, n);
  const auto t = draw.t.to_vector<std::int64_t>();
  const auto weight = draw.weight.to_vector<float>();
  std::vector<double> count(static_cast<std::size_t>(T), 0.0);
  double weighted = 0.0, squares = 0.0, unweighted = 0.0;
  for (std::size_t i = 0; i < t.size(); ++i) {
    count[static_cast<std::size_t>(t[i])] += 1.0;
    const double value = double{weight[i]} * loss_at(t[i]);
    weighted += value / static_cast<double>(n);
    squares += value * value / static_cast<double>(n);
    unweighted += loss_at(t[i]) / static_cast<double>(n);
  }
  for (std::size_t i = 0; i < count.size(); ++i) {
    const double wanted = p[i] * static_cast<double>(n);
    CHECK(std::abs(count[i] - wanted) < 4.5 * std::sqrt(wanted) + 1.0);
  }
  const double spread = std::sqrt(squares - weighted * weighted);
  CHECK(std::abs(weighted - full) < 4.0 * spread / std::sqrt(static_cast<double>(n)) + 1e-7);
  double squares_of_uniform = 0.0;
  for (std::int64_t i = 0; i < T; ++i) squares_of_uniform += loss_at(i) * loss_at(i) / double(T);
  CHECK(spread < 0.1 * std::sqrt(squares_of_uniform - full * full));
  CHECK(unweighted > 2.0 * full);  // without the weights it is another loss
}

TEST_CASE("timestep sampler: its state brings it back, and losses that are not finite stay out") {
  const TimestepSampler sampler = with_full_history(12);
  TimestepSampler copy(12, 3);
  copy.restore(sampler.state());
  CHECK(copy.probabilities() == sampler.probabilities());
  Rng a(4, Purpose::timestep), b(4, Purpose::timestep);
  CHECK(copy.draw(a, 50).t.to_vector<std::int64_t>() ==
        sampler.draw(b, 50).t.to_vector<std::int64_t>());

  const auto before = copy.probabilities();
  copy.update({3, 4},
              {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()});
  CHECK(copy.probabilities() == before);
  copy.update(Tensor::from<std::int64_t>({3}, {1}), Tensor::from<double>({9.0}, {1}));
  CHECK(copy.probabilities() != before);

  TimestepSampler young(12, 3);
  young.update({5}, {2.0F});
  copy.restore(young.state());
  CHECK(copy.probabilities()[5] == doctest::Approx(1.0 / 12));
  CHECK_THROWS_AS(copy.restore(TimestepSampler(11, 3).state()), ShapeError);
  CHECK_THROWS_AS(copy.restore(Tensor::full({12, 4}, 9.0)), ValueError);
  CHECK_THROWS_AS(TimestepSampler(0), ValueError);
  CHECK_THROWS_AS(TimestepSampler(5, 0), ValueError);
  CHECK_THROWS_AS(TimestepSampler(5, 1, 1.5), ValueError);
}
