// The forward process, the posterior, conversions among predictions, and the loss, against closed
// forms.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tests/oracles/chain.h"
#include "tensor/error.h"
#include "tensor/rng.h"
#include "tests/compare.h"
#include "tests/oracles/gaussian_data.h"

using namespace ito;
using test::Chain;
using test::all_timesteps;
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
    // Both are affine: their two coefficients come out of unit inputs.
    const auto step_x = values(process.add_noise_step(constant(T, 1), t, constant(T, 0)));
    const auto step_eps = values(process.add_noise_step(constant(T, 0), t, constant(T, 1)));
    const auto jump_x = values(process.add_noise(constant(T, 1), t, constant(T, 0)));
    const auto jump_eps = values(process.add_noise(constant(T, 0), t, constant(T, 1)));
    double factor = 1.0, variance = 0.0;
    for (std::size_t i = 0; i < jump_x.size(); ++i) {
      factor *= step_x[i];
      variance = step_x[i] * step_x[i] * variance + step_eps[i] * step_eps[i];
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
    const Tensor t_of_each = Tensor::full({n}, static_cast<double>(t), DType::i64);
    x = process.add_noise_step(x, t_of_each, randn(rng, x.shape(), DType::f64));
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
    const Tensor got =
        linear_process.add_noise(convert(x0, DType::f32), t, convert(eps, DType::f32));
    CHECK(got.dtype() == DType::f32);
    CHECK(got.shape() == shape);
    CHECK(max_difference(convert(got, DType::f64), wanted) < 1e-6);
  }
}

TEST_CASE("posterior: equals the product of the prior and the likelihood by Bayes' rule") {
  Rng rng(3, Purpose::test);
  for (const char* const name :
       {"linear", "cosine", "quadratic", "jsd", "warmup10", "karras", "linear-zero-snr"}) {
    CAPTURE(name);
    const Chain process{NoiseSchedule::named(name)};
    const NoiseSchedule& schedule = process.schedule;
    const Shape shape{schedule.timesteps(), 1};
    const Tensor x0 = randn(rng, shape, DType::f64), x_t = randn(rng, shape, DType::f64);
    const Posterior posterior = process.posterior(x0, x_t, all_timesteps(schedule));
    const auto mean = values(posterior.mean), variance = values(posterior.variance);
    const auto log_variance = values(posterior.log_variance);
    const auto a = values(x0), b = values(x_t);
    CHECK(std::abs(mean[0] - a[0]) < 1e-14);  // x_0 itself, for certain
    CHECK(variance[0] == 0.0);
    CHECK(log_variance[0] == log_variance[1]);
    long double alpha_bar_prev = 1.0L - static_cast<long double>(schedule.beta(0));
    for (std::size_t t = 1; t < mean.size(); ++t) {
      // q(x_{t-1} | x_0) q(x_t | x_{t-1}): precisions add, means are weighted by them.
      const long double beta = schedule.beta(static_cast<std::int64_t>(t));
      const long double from_x0 = 1.0L / (1.0L - alpha_bar_prev);
      const long double from_x_t = (1.0L - beta) / beta;
      const long double precision = from_x0 + from_x_t;
      const long double m =
          (std::sqrt(alpha_bar_prev) * a[t] * from_x0 + b[t] * std::sqrt(1.0L - beta) / beta) /
          precision;
      CHECK(std::abs(static_cast<double>(m - mean[t])) <
            1e-14 * (1 + std::abs(a[t]) + std::abs(b[t])));
      CHECK(std::abs(static_cast<double>(1.0L / precision - variance[t])) < 1e-14);
      CHECK(std::abs(log_variance[t] - std::log(variance[t])) < 1e-14 * 10);
      alpha_bar_prev *= 1.0L - beta;
    }
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
  Rng rng(4, Purpose::test);
  const NoiseSchedule& schedule = linear_process.schedule;
  const Tensor t = all_timesteps(schedule);
  const Shape shape{schedule.timesteps(), 3};
  const Tensor x0 = randn(rng, shape, DType::f64), eps = randn(rng, shape, DType::f64);
  const Tensor x_t = linear_process.add_noise(x0, t, eps);
  const auto through_x0 = values(linear_process.posterior(x0, x_t, t).mean);
  const auto x = values(x_t), e = values(eps);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto step = static_cast<std::int64_t>(i / 3);
    const double through_eps =
        (x[i] - schedule.beta(step) / std::sqrt(schedule.one_minus_alpha_bar(step)) * e[i]) /
        std::sqrt((1.0 - schedule.beta(step)));
    CHECK(std::abs(through_eps - through_x0[i]) < 1e-13);
  }
}

TEST_CASE("conversions: x0, epsilon, v and score go over into one another at every t") {
  Rng rng(5, Purpose::test);
  for (const auto& process : {linear_process, cosine_process}) {
    const Tensor t = all_timesteps(process.schedule);
    const Shape shape{process.schedule.timesteps(), 2};
    const Tensor x0 = randn(rng, shape, DType::f64), eps = randn(rng, shape, DType::f64);
    const Tensor x_t = process.add_noise(x0, t, eps);
    const Levels level = process.levels(t, x_t);
    const Tensor v = v_from_x0_epsilon(x0, eps, level);
    const Tensor score = score_from_epsilon(eps, level);

    // Dividing by alpha or sigma multiplies rounding errors by up to 1 / alpha or 1 / sigma; with
    // one entry of the cosine schedule as the exception (1 / alpha = 2e4) that stays below 1e-12.
    const auto check = [&](const Tensor& got, const Tensor& wanted, double power_of_alpha,
                           double power_of_sigma) {
      const Tensor scale = pow(level.alpha, power_of_alpha) * pow(level.sigma, power_of_sigma);
      const auto error = values(abs(got - wanted) * scale);
      const auto plain = values(abs(got - wanted) / (1.0 + abs(wanted)));
      const double smallest_alpha = process.schedule.level(998).alpha;
      for (std::size_t i = 0; i < error.size(); ++i) {
        CHECK(error[i] < 1e-14);
        if (smallest_alpha > 0.005 || i / 2 < 998) CHECK(plain[i] < 1e-12);
      }
    };
    check(x0_from_epsilon(eps, x_t, level), x0, 1, 0);
    check(x0_from_v(v, x_t, level), x0, 0, 0);
    check(x0_from_score(score, x_t, level), x0, 1, 0);
    check(epsilon_from_x0(x0, x_t, level), eps, 0, 1);
    check(epsilon_from_v(v, x_t, level), eps, 0, 0);
    check(epsilon_from_score(score, level), eps, 0, 0);
    check(v_from_epsilon(eps, x_t, level), v, 1, 0);
    check(v_from_x0(x0, x_t, level), v, 0, 1);
    check(v_from_score(score, x_t, level), v, 1, 0);
    check(score_from_x0(x0, x_t, level), score, 0, 2);
    check(score_from_v(v, x_t, level), score, 0, 1);

    // Round trips of any prediction p, consistent with x_t or not.
    const Tensor p = randn(rng, shape, DType::f64);
    check(x0_from_epsilon(epsilon_from_x0(p, x_t, level), x_t, level), p, 1, 1);
    check(epsilon_from_x0(x0_from_epsilon(p, x_t, level), x_t, level), p, 1, 1);
    check(v_from_epsilon(epsilon_from_v(p, x_t, level), x_t, level), p, 1, 0);
    check(v_from_x0(x0_from_v(p, x_t, level), x_t, level), p, 0, 1);
    check(score_from_v(v_from_score(p, x_t, level), x_t, level), p, 1, 1);
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
  CHECK(max_difference(score_from_epsilon(eps, level) / score,
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
  const Denoiser half = [](const Tensor& x_t, const Tensor&) { return 0.5 * x_t; };
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
  const Denoiser half = [](const Tensor& x_t, const Tensor&) { return 0.5 * x_t; };
  const Tensor wanted = linear_process.losses(half, x0, t, eps);
  const Tensor output = half(linear_process.add_noise(x0, t, eps), t);
  CHECK(max_difference(linear_process.losses_of(output, x0, t, eps), wanted) == 0.0);
  // bf16 keeps 8 bits: an output below 4 is off by 2^-7 at most, the error of eps below 8.
  const Tensor rounded = linear_process.losses_of(convert(output, DType::bf16), x0, t, eps);
  CHECK(rounded.dtype() == DType::f32);
  CHECK(max_difference(rounded, wanted) > 0.0);
  CHECK(max_difference(rounded, wanted) < 2.0 * 8.0 / 128.0);
}

TEST_CASE("loss: a network that predicts 0 pays the mean of eps^2, about 1") {
  Rng rng(8, Purpose::test);
  const Shape shape{64, 28, 28, 1};
  const Tensor x0 = randn(rng, shape), eps = randn(rng, shape);
  const Tensor t = randint(rng, 0, 1000, {64});
  const Denoiser zero = [](const Tensor& x, const Tensor&) { return Tensor::zeros(x.shape()); };
  const double loss = linear_process.loss(zero, x0, t, eps).item();
  CHECK(loss == doctest::Approx(mean(square(eps)).item()).epsilon(1e-6));
  CHECK(std::abs(loss - 1.0) < 4 * std::sqrt(2.0 / static_cast<double>(shape.numel())));
}

TEST_CASE("bound_weight: times the error of epsilon, is the divergence of the two reverse steps") {
  Rng rng(9, Purpose::test);
  for (const std::int64_t t : {1, 2, 10, 100, 500, 999}) {
    const Tensor steps = Tensor::full({1}, static_cast<double>(t), DType::i64);
    const Tensor x0 = randn(rng, {1, 5}, DType::f64), eps = randn(rng, {1, 5}, DType::f64);
    const Tensor x_t = linear_process.add_noise(x0, steps, eps);
    const Tensor eps_hat = randn(rng, {1, 5}, DType::f64);
    const Tensor x0_hat = x0_from_epsilon(eps_hat, x_t, linear_process.levels(steps, x_t));
    const Tensor difference = linear_process.posterior(x0, x_t, steps).mean -
                              linear_process.posterior(x0_hat, x_t, steps).mean;
    for (const auto variance : {ReverseVariance::beta, ReverseVariance::beta_tilde}) {
      const double sigma2 = variance == ReverseVariance::beta
                                ? linear_process.schedule.beta(t)
                                : linear_process.schedule.beta_tilde(t);
      const double divergence = sum(square(difference)).item() / (2.0 * sigma2);
      const double weighted =
          linear_process.bound_weight(t, variance) * sum(square(eps - eps_hat)).item();
      CHECK(weighted == doctest::Approx(divergence).epsilon(1e-11));
    }
  }
  const auto weight = [](std::int64_t t, ReverseVariance v) {
    return linear_process.bound_weight(t, v);
  };
  CHECK(weight(1, ReverseVariance::beta) == doctest::Approx(0.27269208427804).epsilon(1e-11));
  CHECK(weight(1, ReverseVariance::beta_tilde) ==
        doctest::Approx(0.599671512159316).epsilon(1e-11));
  CHECK(weight(100, ReverseVariance::beta) == doctest::Approx(0.0099962302264614).epsilon(1e-11));
  CHECK(weight(999, ReverseVariance::beta) == doctest::Approx(0.0102044934686379).epsilon(1e-11));
  CHECK_THROWS_AS(weight(0, ReverseVariance::beta_tilde), ValueError);
}

TEST_CASE("denoise: both halves explain x_t, from any prediction, clipped or not") {
  Rng rng(10, Purpose::test);
  const Tensor t = Tensor::from<std::int64_t>({5, 400, 999}, {3});
  const Tensor x_t = 3.0 * randn(rng, {3, 4}, DType::f64);
  for (const auto prediction : {Prediction::epsilon, Prediction::x0, Prediction::v}) {
    const Chain process{NoiseSchedule::linear(), prediction};
    const Levels level = process.levels(t, x_t);
    for (const bool clip : {false, true}) {
      const Denoised d = process.denoise(exact_denoiser(process, 4.0), x_t, t,
                                         clip ? Thresholding(clip_x0) : Thresholding{});
      CHECK(max_difference(level.alpha * d.x0 + level.sigma * d.eps, x_t) < 1e-13);
      CHECK((max(abs(d.x0)).item() <= 1.0) == clip);
    }
  }
}

TEST_CASE("process: wrong shapes, dtypes and timesteps are refused") {
  const Tensor x = Tensor::zeros({2, 3}), t = Tensor::zeros({2}, DType::i64);
  const Denoiser wrong = [](const Tensor&, const Tensor&) { return Tensor::zeros({2, 4}); };
  const Chain& p = linear_process;
  CHECK_THROWS_AS(p.add_noise(x, Tensor::zeros({3}, DType::i64), x), ShapeError);
  CHECK_THROWS_AS(p.add_noise(x, Tensor::zeros({2}), x), DTypeError);
  CHECK_THROWS_AS(p.add_noise(x, t, Tensor::zeros({2, 1})), ShapeError);
  CHECK_THROWS_AS(p.add_noise(Tensor{}, t, x), Error);
  CHECK_THROWS_AS(p.add_noise(Tensor::zeros({2, 3}, DType::u8), t, x), DTypeError);
  CHECK_THROWS_AS(p.add_noise(x, Tensor::full({2}, 1000, DType::i64), x), ValueError);
  CHECK_THROWS_AS(p.add_noise(x, Tensor::full({2}, -1, DType::i64), x), ValueError);
  CHECK_THROWS_AS(p.posterior(Tensor::zeros({2, 1}), x, t), ShapeError);
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
    CHECK_THROWS_AS(wrong.denoise(exact_denoiser(wrong, 0.25), x_t, t), ValueError);
  }
}
