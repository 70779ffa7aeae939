// The forward process, the posterior, conversions among predictions, and the loss, against closed
// forms.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "diffusion/denoiser/thresholding.h"
#include "diffusion/objective/loss_weight.h"
#include "diffusion/process/reverse_variance.h"
#include "tensor/error.h"
#include "tensor/rng.h"
#include "tests/compare.h"
#include "tests/oracles/chain.h"
#include "tests/oracles/gaussian_data.h"

using namespace ito;
using test::all_timesteps;
using test::Chain;
using test::exact_denoiser;
using test::max_difference;

namespace {

const Chain linear_process{NoiseSchedule::linear()};
const Chain cosine_process{NoiseSchedule::cosine()};

Tensor constant(std::int64_t n, double value) { return Tensor::full({n, 1}, value, DType::f64); }

std::vector<double> values(const Tensor& x) { return x.to_vector<double>(); }

}  // namespace

TEST_CASE("add_noise: the chain's steps, composed, give the jump at every t") {
  for (const std::string& name : NoiseSchedule::names()) {
    CAPTURE(name);
    const Chain process{NoiseSchedule::named(name)};
    const std::int64_t T = process.schedule.timesteps();
    const Tensor t = all_timesteps(process.schedule);
    // It is affine: its two coefficients come out of unit inputs.
    const auto jump_x = values(process.add_noise(constant(T, 1), t, constant(T, 0)));
    const auto jump_eps = values(process.add_noise(constant(T, 0), t, constant(T, 1)));
    double factor = 1.0, variance = 0.0;
    for (std::size_t i = 0; i < jump_x.size(); ++i) {
      const double beta = process.schedule.beta(static_cast<std::int64_t>(i));
      factor *= std::sqrt(1.0 - beta);
      variance = (1.0 - beta) * variance + beta;
      CHECK(std::abs(factor - jump_x[i]) < 1e-14);
      CHECK(std::abs(variance - jump_eps[i] * jump_eps[i]) < 1e-14);
    }
  }
}

TEST_CASE("add_noise: a simulated chain has the jump's mean and variance") {
  const Chain process{NoiseSchedule::linear(20, 0.01, 0.2)};
  const std::int64_t n = 20000;
  Rng rng(1, Purpose::test);
  Tensor x = constant(n, 0.8);
  for (std::int64_t t = 0; t < 20; ++t) {
    const double beta = process.schedule.beta(t);
    x = std::sqrt(1.0 - beta) * x + std::sqrt(beta) * randn(rng, x.shape(), DType::f64);
  }
  const double alpha_bar = process.schedule.alpha_bar(19);
  const double m = mean(x).item();
  const double variance = mean(square(x - m)).item();
  const double n_double = static_cast<double>(n);
  CHECK(std::abs(m - std::sqrt(alpha_bar) * 0.8) < 4 * std::sqrt((1 - alpha_bar) / n_double));
  CHECK(std::abs(variance - (1 - alpha_bar)) < 4 * (1 - alpha_bar) * std::sqrt(2 / n_double));
}

TEST_CASE("add_noise: coefficients follow the dtype and any number of axes") {
  Rng rng(2, Purpose::test);
  const Tensor t = Tensor::from<std::int64_t>({0, 999}, {2});
  for (const Shape& shape : {Shape{2}, Shape{2, 3}, Shape{2, 4, 5, 3}}) {
    const Tensor x0 = randn(rng, shape, DType::f64), eps = randn(rng, shape, DType::f64);
    const Tensor wanted = linear_process.add_noise(x0, t, eps);
    const Tensor got = linear_process.add_noise(cast(x0, DType::f32), t, cast(eps, DType::f32));
    CHECK(got.dtype() == DType::f32);
    CHECK(got.shape() == shape);
    CHECK(max_difference(cast(got, DType::f64), wanted) < 1e-6);
  }
}

TEST_CASE("transition: neighbours in a schedule are a step of its chain, and any two compose") {
  for (const std::string& name : NoiseSchedule::names()) {
    CAPTURE(name);
    const NoiseSchedule s = NoiseSchedule::named(name, 60);
    for (std::int64_t t = 1; t < 60; ++t) {
      const Transition q = transition(s.level(t - 1), s.level(t));
      CHECK(q.variance == doctest::Approx(s.beta(t)).epsilon(1e-9));
      CHECK(std::abs(q.scale * q.scale - (1.0 - s.beta(t))) < 1e-12);
    }
    const Transition a = transition(s.level(3), s.level(20)),
                     b = transition(s.level(20), s.level(50));
    const Transition both = transition(s.level(3), s.level(50));
    CHECK(both.scale == doctest::Approx(a.scale * b.scale).epsilon(1e-13));
    CHECK(both.variance ==
          doctest::Approx(b.scale * b.scale * a.variance + b.variance).epsilon(1e-12));
    CHECK_THROWS_AS(transition(s.level(20), s.level(3)), ValueError);
  }
}

TEST_CASE("posterior: equals the product of the prior and the likelihood by Bayes' rule") {
  for (const char* const name :
       {"linear", "cosine", "quadratic", "jsd", "warmup10", "karras", "linear-zero-snr"}) {
    CAPTURE(name);
    const NoiseSchedule schedule = NoiseSchedule::named(name);
    const PosteriorStep to_clean = posterior_step(schedule.level(0), Level::clean());
    CHECK(std::abs(to_clean.weight_x0 - 1.0) < 1e-14);  // x_0 itself, for certain
    CHECK(to_clean.weight_x_t == 0.0);
    CHECK(to_clean.variance == 0.0);
    long double alpha_bar_prev = 1.0L - static_cast<long double>(schedule.beta(0));
    for (std::int64_t t = 1; t < schedule.timesteps(); ++t) {
      // q(x_{t-1} | x_0) q(x_t | x_{t-1}): precisions add, means are weighted by them.
      const long double beta = schedule.beta(t);
      const long double from_x0 = 1.0L / (1.0L - alpha_bar_prev);
      const long double from_x_t = (1.0L - beta) / beta;
      const long double precision = from_x0 + from_x_t;
      const PosteriorStep q = posterior_step(schedule.level(t), schedule.level(t - 1));
      const auto near = [](long double x) {
        return doctest::Approx(static_cast<double>(x)).epsilon(1e-10);
      };
      CHECK(q.weight_x0 == near(std::sqrt(alpha_bar_prev) * from_x0 / precision));
      CHECK(std::abs(q.weight_x_t -
                     static_cast<double>(std::sqrt(1.0L - beta) / beta / precision)) < 1e-10);
      CHECK(q.variance == near(1.0L / precision));
      CHECK(schedule.log_beta_tilde_clipped(t) ==
            doctest::Approx(std::log(q.variance)).epsilon(1e-10));
      alpha_bar_prev *= 1.0L - beta;
    }
    CHECK(schedule.log_beta_tilde_clipped(0) == schedule.log_beta_tilde_clipped(1));
  }
}

TEST_CASE("posterior: a coefficient of the wrong timestep fails Bayes' rule") {
  // beta_t where beta_tilde_t is meant, and alpha_bar_t for alpha_bar_{t-1}.
  const NoiseSchedule& schedule = linear_process.schedule;
  double of_beta = 0.0, of_alpha_bar = 0.0;
  for (std::int64_t t = 1; t < 1000; ++t) {
    const double beta = schedule.beta(t), before = schedule.alpha_bar(t - 1);
    const double precision = 1.0 / (1.0 - before) + (1.0 - beta) / beta;
    of_beta = std::max(of_beta, std::abs(beta - 1.0 / precision));
    const double weight = std::sqrt(schedule.alpha_bar(t)) * beta / (1.0 - schedule.alpha_bar(t));
    of_alpha_bar =
        std::max(of_alpha_bar, std::abs(weight - std::sqrt(before) / (1.0 - before) / precision));
  }
  CHECK(of_beta > 1e-5);
  CHECK(of_alpha_bar > 1e-5);
}

TEST_CASE("posterior: its mean through x0 and through epsilon are one") {
  const NoiseSchedule& schedule = linear_process.schedule;
  const double x0 = 0.7, eps = -1.1;
  for (std::int64_t t = 1; t < 1000; ++t) {
    const Level level = schedule.level(t);
    const PosteriorStep q = posterior_step(level, schedule.level(t - 1));
    const double x = level.alpha * x0 + level.sigma * eps;
    const double through_eps =
        (x - schedule.beta(t) / level.sigma * eps) / std::sqrt(1.0 - schedule.beta(t));
    CHECK(std::abs(through_eps - (q.weight_x0 * x0 + q.weight_x_t * x)) < 1e-12);
  }
}

TEST_CASE("conversions: the score is the gradient of log q(x_t | x_0)") {
  Rng rng(6, Purpose::test);
  const Tensor t = Tensor::from<std::int64_t>({0, 300, 999}, {3});
  const Tensor x0 = randn(rng, {3, 2}, DType::f64), eps = randn(rng, {3, 2}, DType::f64);
  const Tensor x_t = parameter(detach(linear_process.add_noise(x0, t, eps)));
  const Levels level = linear_process.levels(t, x_t);
  const Tensor log_q = -0.5 * sum(square((x_t - level.alpha * x0) / level.sigma));
  const Tensor score = grad(log_q, std::vector<Tensor>{x_t})[0];
  CHECK(max_difference(target(Prediction::score, x0, eps, level) / score,
                       Tensor::full({3, 2}, 1.0, DType::f64)) < 1e-11);
}

TEST_CASE("loss: the exact denoiser attains the floor of L_simple") {
  // The error is linear in x_0 and eps, so four points with the right second moments replace the
  // expectation over both normal distributions.
  const auto floor = [](const Chain& process, double s2) {
    const std::int64_t T = process.schedule.timesteps();
    const Tensor all = all_timesteps(process.schedule);
    const Tensor t = concat({all, all, all, all}, 0);
    const double s = std::sqrt(s2);
    const Tensor x0 = concat({constant(2 * T, s), constant(2 * T, -s)}, 0);
    const Tensor eps =
        concat({constant(T, 1), constant(T, -1), constant(T, 1), constant(T, -1)}, 0);
    return process.loss(exact_denoiser(process, s2), x0, t, eps).item();
  };
  CHECK(std::abs(floor(linear_process, 1.0) - 0.275513233396806) < 1e-12);
  CHECK(std::abs(floor(linear_process, 0.25) - 0.173053406083686) < 1e-12);
  CHECK(std::abs(floor(cosine_process, 1.0) - 0.495577512582486) < 1e-12);
  CHECK(std::abs(floor(cosine_process, 0.25) - 0.327653427277838) < 1e-12);
  // In units of x0 and v the same denoiser has the error of eps times sigma^2 / alpha^2 and 1 /
  // alpha^2.
  for (const auto prediction : {Prediction::x0, Prediction::v}) {
    const Chain process{NoiseSchedule::linear(), prediction};
    double wanted = 0.0;
    for (std::int64_t t = 0; t < 1000; ++t) {
      const double a = process.schedule.alpha_bar(t);
      const double error_of_eps = 0.25 * a / test::marginal_variance(a, 0.25);
      wanted += error_of_eps * (prediction == Prediction::x0 ? (1 - a) / a : 1 / a) / 1000;
    }
    CHECK(std::abs(floor(process, 0.25) - wanted) < 1e-12);
  }
}

TEST_CASE("loss: is the mean of the losses per sample, each the mean over its elements") {
  Rng rng(7, Purpose::test);
  const Shape shape{4, 3, 2, 1};
  const Tensor x0 = randn(rng, shape, DType::f64), eps = randn(rng, shape, DType::f64);
  const Tensor t = Tensor::from<std::int64_t>({0, 1, 500, 999}, {4});
  const Network half = [](const Tensor& x_t, const Tensor&) { return 0.5 * x_t; };
  const auto losses = values(linear_process.losses(half, x0, t, eps));
  const auto x = values(linear_process.add_noise(x0, t, eps)), e = values(eps);
  REQUIRE(losses.size() == 4);
  double total = 0.0;
  for (std::size_t n = 0; n < 4; ++n) {
    double wanted = 0.0;
    for (std::size_t i = 6 * n; i < 6 * n + 6; ++i) {
      wanted += (0.5 * x[i] - e[i]) * (0.5 * x[i] - e[i]) / 6.0;
    }
    CHECK(std::abs(losses[n] - wanted) < 1e-14 * 10);
    total += wanted / 4.0;
  }
  CHECK(std::abs(linear_process.loss(half, x0, t, eps).item() - total) < 1e-14 * 10);
}

TEST_CASE(
    "loss: of an output that is there already is the same, and one in bf16 is widened first") {
  Rng rng(7, Purpose::test);
  const Tensor x0 = randn(rng, {4, 6}), eps = randn(rng, {4, 6});
  const Tensor t = Tensor::from<std::int64_t>({0, 1, 500, 999}, {4});
  const Network half = [](const Tensor& x_t, const Tensor&) { return 0.5 * x_t; };
  const Tensor wanted = linear_process.losses(half, x0, t, eps);
  const Tensor output = half(linear_process.add_noise(x0, t, eps), {});
  CHECK(max_difference(linear_process.losses_of(output, x0, t, eps), wanted) == 0.0);
  // bf16 keeps 8 bits: an output below 4 is off by 2^-7 at most, the error of eps below 8.
  const Tensor rounded = linear_process.losses_of(cast(output, DType::bf16), x0, t, eps);
  CHECK(rounded.dtype() == DType::f32);
  CHECK(max_difference(rounded, wanted) > 0.0);
  CHECK(max_difference(rounded, wanted) < 2.0 * 8.0 / 128.0);
}

TEST_CASE("loss: a network that predicts 0 pays the mean of eps^2, about 1") {
  Rng rng(8, Purpose::test);
  const Shape shape{64, 28, 28, 1};
  const Tensor x0 = randn(rng, shape), eps = randn(rng, shape);
  const Tensor t = randint(rng, 0, 1000, {64});
  const Network zero = [](const Tensor& x, const Tensor&) { return Tensor::zeros(x.shape()); };
  const double loss = linear_process.loss(zero, x0, t, eps).item();
  CHECK(loss == doctest::Approx(mean(square(eps)).item()).epsilon(1e-6));
  CHECK(std::abs(loss - 1.0) < 4 * std::sqrt(2.0 / static_cast<double>(shape.numel())));
}

TEST_CASE("loss weights: the bound's, times the error of epsilon, is the divergence of two steps") {
  const NoiseSchedule& schedule = linear_process.schedule;
  const double x0 = 0.7, eps = -1.1, eps_hat = 0.4;
  const auto weight = [&](std::int64_t t, LossWeight w) {
    return loss_weights(schedule, Parametrization{}, w)[static_cast<std::size_t>(t)];
  };
  for (const std::int64_t t : {1, 2, 10, 100, 500, 999}) {
    const Level level = schedule.level(t);
    const double x = level.alpha * x0 + level.sigma * eps;
    const double x0_hat = (x - level.sigma * eps_hat) / level.alpha;
    const double difference =
        posterior_step(level, schedule.level(t - 1)).weight_x0 * (x0 - x0_hat);
    const double error = (eps - eps_hat) * (eps - eps_hat);
    CHECK(weight(t, LossWeight::vlb_beta) * error ==
          doctest::Approx(difference * difference / (2.0 * schedule.beta(t))).epsilon(1e-11));
    CHECK(weight(t, LossWeight::vlb_beta_tilde) * error ==
          doctest::Approx(difference * difference / (2.0 * schedule.beta_tilde(t))).epsilon(1e-11));
  }
  CHECK(weight(1, LossWeight::vlb_beta) == doctest::Approx(0.27269208427804).epsilon(1e-11));
  CHECK(weight(1, LossWeight::vlb_beta_tilde) == doctest::Approx(0.599671512159316).epsilon(1e-11));
  CHECK(weight(100, LossWeight::vlb_beta) == doctest::Approx(0.0099962302264614).epsilon(1e-11));
  CHECK(weight(999, LossWeight::vlb_beta) == doctest::Approx(0.0102044934686379).epsilon(1e-11));
}

TEST_CASE("denoise: both halves explain x_t, from any prediction, clipped or not") {
  Rng rng(10, Purpose::test);
  const Tensor t = Tensor::from<std::int64_t>({5, 400, 999}, {3});
  const Tensor x_t = 3.0 * randn(rng, {3, 4}, DType::f64);
  for (const auto prediction : {Prediction::epsilon, Prediction::x0, Prediction::v}) {
    const Chain process{NoiseSchedule::linear(), prediction};
    const Levels level = process.levels(t, x_t);
    for (const bool clip : {false, true}) {
      const Denoiser model =
          thresholded(exact_denoiser(process, 4.0), clip ? Thresholding(clip_x0) : Thresholding{});
      const Denoised d = process.denoise(model, x_t, t);
      CHECK(max_difference(level.alpha * d.x0 + level.sigma * d.eps, x_t) < 1e-13);
      CHECK((max(abs(d.x0)).item() <= 1.0) == clip);
    }
  }
}

TEST_CASE("process: wrong shapes, dtypes and timesteps are refused") {
  const Tensor x = Tensor::zeros({2, 3}), t = Tensor::zeros({2}, DType::i64);
  const Network wrong = [](const Tensor&, const Tensor&) { return Tensor::zeros({2, 4}); };
  const Chain& p = linear_process;
  CHECK_THROWS_AS(p.add_noise(x, Tensor::zeros({3}, DType::i64), x), ShapeError);
  CHECK_THROWS_AS(p.schedule.levels(Tensor::zeros({2}), x), DTypeError);
  CHECK_THROWS_AS(p.add_noise(x, t, Tensor::zeros({2, 1})), ShapeError);
  CHECK_THROWS_AS(p.add_noise(Tensor{}, t, x), Error);
  CHECK_THROWS_AS(p.add_noise(Tensor::zeros({2, 3}, DType::u8), t, x), DTypeError);
  CHECK_THROWS_AS(p.add_noise(x, Tensor::full({2}, 1000, DType::i64), x), ValueError);
  CHECK_THROWS_AS(p.add_noise(x, Tensor::full({2}, -1, DType::i64), x), ValueError);
  CHECK_THROWS_AS(p.loss(wrong, x, t, x), ShapeError);
  CHECK_THROWS_AS(p.denoise(wrong, x, t), ShapeError);
}

TEST_CASE("process: without any signal left, v and x0 still denoise, and epsilon is refused") {
  const NoiseSchedule schedule = NoiseSchedule::cosine().with_zero_terminal_snr();
  Rng rng(11, Purpose::test);
  const Tensor t = Tensor::from<std::int64_t>({0, 500, 999}, {3});
  const Tensor x_t = randn(rng, {3, 4}, DType::f64);
  for (const auto prediction : {Prediction::x0, Prediction::v, Prediction::edm, Prediction::flow}) {
    const Chain process{schedule, prediction};
    const Levels level = process.levels(t, x_t);
    const Denoised d = process.denoise(exact_denoiser(process, 0.25), x_t, t);
    CHECK(max_difference(level.alpha * d.x0 + level.sigma * d.eps, x_t) < 1e-13);
    CHECK(max(abs(slice(d.x0, 0, 2, 3))).item() == 0.0);  // of pure noise: the mean of the data
    CHECK(max_difference(slice(d.eps, 0, 2, 3), slice(x_t, 0, 2, 3)) == 0.0);
  }
  for (const auto prediction : {Prediction::epsilon, Prediction::score}) {
    const Chain wrong{schedule, prediction};
    CHECK_THROWS_AS(wrong.parametrization().expect_usable(schedule), ValueError);
    CHECK_NOTHROW(wrong.parametrization().expect_usable(NoiseSchedule::cosine()));
  }
}
