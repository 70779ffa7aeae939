// Weights of the loss against the divergences that they stand for.
#include "diffusion/objective/loss_weight.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/reduce.h"
#include "diffusion/likelihood/variational_bound.h"
#include "tensor/error.h"
#include "tests/compare.h"
#include "tests/oracles/gaussian_data.h"

using namespace ito;
using test::Chain;
using test::max_difference;

namespace {

const NoiseSchedule linear_schedule = NoiseSchedule::linear();
const std::vector<LossWeight> all = {LossWeight::simple,         LossWeight::vlb_beta,
                                     LossWeight::vlb_beta_tilde, LossWeight::snr,
                                     LossWeight::min_snr,        LossWeight::likelihood};

}  // namespace

TEST_CASE("loss weight: the bound's weights have their published values") {
  const Chain process{linear_schedule};
  const auto beta = loss_weights(process.schedule, process.parametrization(), LossWeight::vlb_beta);
  const auto beta_tilde =
      loss_weights(process.schedule, process.parametrization(), LossWeight::vlb_beta_tilde);
  const auto near = [](double value) { return doctest::Approx(value).epsilon(3e-6); };
  CHECK(beta[1] == near(.272692));
  CHECK(beta_tilde[1] == near(.599672));
  CHECK(beta[2] == near(.194402));
  CHECK(beta_tilde[2] == near(.317995));
  CHECK(beta[10] == near(.0682240));
  CHECK(beta_tilde[10] == near(.0789766));
  CHECK(beta[100] == near(.00999623));
  CHECK(beta_tilde[100] == near(.0101784));
  CHECK(beta[999] == near(.0102045));
  CHECK(beta_tilde[999] == near(.0102045));
}

TEST_CASE("loss weight: the weighted error is the bound's term, whatever is predicted") {
  Rng rng(1, Purpose::test);
  const std::int64_t n = 999;
  const Tensor x0 = randn(rng, {n, 3}, DType::f64), eps = randn(rng, {n, 3}, DType::f64);
  std::vector<std::int64_t> steps(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < steps.size(); ++i) steps[i] = static_cast<std::int64_t>(i) + 1;
  const Tensor t = Tensor::from(steps, {n});
  const auto predictions = {Prediction::epsilon, Prediction::x0, Prediction::v};
  for (const Prediction prediction : predictions) {
    const Chain process{linear_schedule, prediction};
    const Denoiser model = test::exact_denoiser(process, 0.3);
    const Tensor losses = process.losses(model, x0, t, eps);
    const auto weighted = [&](LossWeight weight) {
      return gather(loss_weights(process.schedule, process.parametrization(), weight, DType::f64,
                                 Device::cpu()),
                    t) *
             losses;
    };
    for (const auto variance : {ReverseVariance::beta, ReverseVariance::beta_tilde}) {
      const VariationalBound bound(process.schedule, {.variance = variance}, DType::f64);
      const Tensor term = bound.terms(model, x0, t, eps).nats;
      // The divergence of the variances is the part that no network changes.
      std::vector<double> constant;
      for (const std::int64_t step : steps) {
        const double ratio = linear_schedule.beta_tilde(step) /
                             reverse_variance(linear_schedule.level(step),
                                              linear_schedule.level(step - 1), variance);
        constant.push_back(0.5 * (ratio - 1.0 - std::log(ratio)));
      }
      const Tensor of_means = term - Tensor::from(constant, {n});
      const bool is_beta = variance == ReverseVariance::beta;
      const auto right = is_beta ? LossWeight::vlb_beta : LossWeight::vlb_beta_tilde;
      const auto wrong = is_beta ? LossWeight::vlb_beta_tilde : LossWeight::vlb_beta;
      CHECK(max_difference(weighted(right), of_means) < 1e-12);
      CHECK(max_difference(weighted(wrong), of_means) > 1e-3);
    }
  }
}

TEST_CASE("loss weight: all but simple weigh the same error of x0 for every prediction") {
  const std::size_t T = 1000;
  const auto of = [](Prediction p, LossWeight w) {
    return loss_weights(linear_schedule, {.prediction = p}, w);
  };
  for (const LossWeight weight : all) {
    const auto eps = of(Prediction::epsilon, weight), x0 = of(Prediction::x0, weight);
    const auto v = of(Prediction::v, weight);
    bool same = true;
    for (std::size_t t = 0; t < T; ++t) {
      const double snr = linear_schedule.snr(static_cast<std::int64_t>(t));
      // error of eps = SNR error of x0, error of v = (SNR + 1) error of x0
      same = same && std::abs(eps[t] * snr / x0[t] - 1.0) < 1e-11 &&
             std::abs(v[t] * (snr + 1.0) / x0[t] - 1.0) < 1e-11;
    }
    CHECK(same == (weight != LossWeight::simple));
  }
}

TEST_CASE("loss weight: snr, min-snr and the likelihood by their definitions") {
  const Parametrization eps, x0{Prediction::x0}, v{Prediction::v};
  for (const std::int64_t step : {0, 3, 150, 400, 999}) {
    const auto t = static_cast<std::size_t>(step);
    const double snr = linear_schedule.snr(step), clipped = std::min(snr, 5.0);
    CAPTURE(step);
    CHECK(loss_weights(linear_schedule, eps, LossWeight::snr)[t] ==
          doctest::Approx(1.0).epsilon(1e-12));
    CHECK(loss_weights(linear_schedule, x0, LossWeight::snr)[t] ==
          doctest::Approx(snr).epsilon(1e-12));
    CHECK(loss_weights(linear_schedule, eps, LossWeight::min_snr)[t] ==
          doctest::Approx(clipped / snr).epsilon(1e-12));
    CHECK(loss_weights(linear_schedule, x0, LossWeight::min_snr)[t] ==
          doctest::Approx(clipped).epsilon(1e-12));
    CHECK(loss_weights(linear_schedule, v, LossWeight::min_snr)[t] ==
          doctest::Approx(clipped / (snr + 1)).epsilon(1e-12));
  }
  // The bound's weight with variance beta is the likelihood's over alpha: they meet as T grows.
  for (const std::int64_t T : {100, 1000, 10'000}) {
    const double scale = 1000.0 / static_cast<double>(T);
    const Chain process{NoiseSchedule::linear(T, 1e-4 * scale, 0.02 * scale)};
    const auto likelihood =
        loss_weights(process.schedule, process.parametrization(), LossWeight::likelihood);
    const auto vlb =
        loss_weights(process.schedule, process.parametrization(), LossWeight::vlb_beta);
    double farthest = 0.0;
    for (std::size_t t = 0; t < vlb.size(); ++t) {
      farthest = std::max(farthest, vlb[t] / likelihood[t] - 1.0);
    }
    CHECK(farthest == doctest::Approx(0.02 * scale / (1.0 - 0.02 * scale)).epsilon(1e-8));
  }
}

TEST_CASE("loss weight: a schedule that ends without signal needs another prediction than eps") {
  const NoiseSchedule blind = linear_schedule.with_zero_terminal_snr();
  for (const LossWeight weight : all) {
    for (const auto prediction : {Prediction::x0, Prediction::v}) {
      for (const double w : loss_weights(blind, {.prediction = prediction}, weight)) {
        REQUIRE(std::isfinite(w));
      }
    }
    if (weight == LossWeight::simple) continue;
    CHECK_THROWS_AS(loss_weights(blind, {}, weight), ValueError);
  }
}

TEST_CASE("loss weight: names go both ways") {
  for (const LossWeight weight : all) CHECK(enum_from_name<LossWeight>(name_of(weight)) == weight);
  CHECK_THROWS_AS(enum_from_name<LossWeight>("heavy"), ValueError);
}
