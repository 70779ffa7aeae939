// What common lecture slides print about diffusion, and what holds: each printed version fails a
// check against a known answer, and the corrected one passes the same check. docs/errata.md
// explains them, with the same numbers.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "autograd/engine.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/random.h"
#include "autograd/ops/reduce.h"
#include "diffusion/sampling/samplers.h"
#include "tests/compare.h"
#include "tests/oracles/gaussian_data.h"
#include "tests/oracles/gaussian_mixture.h"

using namespace ito;
using oracle::GaussianMixture;
using test::Chain;
using test::max_difference;

namespace {

const NoiseSchedule schedule = NoiseSchedule::linear();
constexpr std::int64_t T = 1000;

Tensor number(double value) { return Tensor::scalar(value, DType::f64); }
Tensor row(const std::vector<double>& values) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size()), 1});
}
// One step of a sampler of scalars, from x at timestep t with the noise z. For data N(0, s2) and
// the exact network it is linear in both, so that the variance of a run is known exactly.
using Step = std::function<double(std::int64_t t, double x, double z)>;

double variance_after(const Step& step, double start, std::int64_t from = T - 1,
                      std::int64_t to = 0) {
  double variance = start;
  for (std::int64_t t = from; t >= to; --t) {
    const double m = step(t, 1.0, 0.0), r = step(t, 0.0, 1.0);
    variance = m * m * variance + r * r;
  }
  return variance;
}

// E[eps | x_t] of data N(0, s2).
double exact_epsilon(std::int64_t t, double x, double s2) {
  const double a = schedule.alpha_bar(t);
  return std::sqrt(1.0 - a) / test::marginal_variance(a, s2) * x;
}

// Algorithm 2 of Ho et al. 2020, with the bar over the alpha in the denominator or without it, and
// with noise at the last step or without it.
double algorithm_2(std::int64_t t, double x, double z, double eps, bool bar, bool last_noise) {
  const double beta = schedule.beta(t);
  const double alpha = bar ? schedule.alpha_bar(t) : (1.0 - schedule.beta(t));
  const double sigma = t == 0 && !last_noise ? 0.0 : std::sqrt(beta);
  return (x - beta / std::sqrt(1.0 - alpha) * eps) / std::sqrt(1.0 - beta) + sigma * z;
}

constexpr double s2 = 0.25;  // the variance of the data, where nothing else is said

}  // namespace

TEST_CASE("erratum 1: in cross-attention the image asks and the text answers") {
  Rng rng(1, Purpose::test);
  const Tensor pixels = randn(rng, {1, 6, 8}, DType::f64), text = randn(rng, {1, 6, 8}, DType::f64);
  const auto reversed = [](const Tensor& x) {
    std::vector<Tensor> rows;
    for (std::int64_t i = x.size(1) - 1; i >= 0; --i) rows.push_back(slice(x, 1, i, i + 1));
    return concat(rows, 1);
  };
  using CrossAttention = std::function<Tensor(const Tensor& pixels, const Tensor& text)>;
  const CrossAttention printed = [](const Tensor& p, const Tensor& c) {
    return attention(c, p, p);
  };
  const CrossAttention correct = [](const Tensor& p, const Tensor& c) {
    return attention(p, c, c);
  };

  // What comes out is added to the pixels, so it must follow them when they are rearranged.
  const auto error = [&](const CrossAttention& f) {
    return max_difference(f(reversed(pixels), text), reversed(f(pixels, text)));
  };
  CHECK(error(correct) < 1e-14);
  CHECK(error(printed) > 0.1);
  // And there must be one row for each pixel, however many words there are.
  const Tensor words = slice(text, 1, 0, 3);
  CHECK(correct(pixels, words).shape() == pixels.shape());
  CHECK(printed(pixels, words).shape() != pixels.shape());
}

TEST_CASE("erratum 2: the noise is the negative score times sigma") {
  const GaussianMixture data{{.7, .3}, {{-1}, {2}}, {{.5}, {.1}}};
  const Levels level{{}, number(0.8), number(0.6)};
  const Tensor x = parameter(row({-3, -1, 0, 0.5, 1, 2.5}));
  const Tensor score = grad(sum(data.log_density(x, level)), {x})[0];
  const Tensor noise = (x - level.alpha * data.x0(x, level)) / level.sigma;  // from E[x_0 | x_t]
  CHECK(max_difference(-level.sigma * score, noise) < 1e-13);
  CHECK(max_difference(-score, noise) > 0.5);
}

TEST_CASE("erratum 3: in Algorithm 1 the image is noised with bars") {
  // The chain of single steps, composed: what any jump must agree with.
  const auto error = [](const auto& alpha_of) {
    double factor = 1.0, variance = 0.0, worst = 0.0;
    for (std::int64_t t = 0; t < T; ++t) {
      const double beta = schedule.beta(t);
      factor *= std::sqrt(1.0 - beta);
      variance = (1.0 - beta) * variance + beta;
      const double alpha = alpha_of(t);
      worst =
          std::max({worst, std::abs(std::sqrt(alpha) - factor), std::abs(1 - alpha - variance)});
    }
    return worst;
  };
  CHECK(error([](std::int64_t t) { return schedule.alpha_bar(t); }) < 1e-14);
  CHECK(error([](std::int64_t t) { return (1.0 - schedule.beta(t)); }) >
        0.9);  // nothing like noise at T
}

TEST_CASE("erratum 3: in Algorithm 1 the noise is in what the network sees") {
  // The error is linear in x_0 and eps: four points replace both normal distributions.
  const Chain process{schedule};
  const Denoiser model = test::exact_denoiser(process, 1.0);
  const Tensor t = concat({test::all_timesteps(schedule), test::all_timesteps(schedule),
                           test::all_timesteps(schedule), test::all_timesteps(schedule)},
                          0);
  const auto four = [](std::vector<double> signs) {
    std::vector<Tensor> parts;
    for (const double sign : signs) parts.push_back(Tensor::full({T, 1}, sign, DType::f64));
    return concat(parts, 0);
  };
  const Tensor x0 = four({1, 1, -1, -1}), eps = four({1, -1, 1, -1});
  const Levels level = process.levels(t, x0);
  const Tensor with_noise = level.alpha * x0 + level.sigma * eps;
  const Tensor without = level.alpha * x0 + level.sigma;  // as printed
  const auto loss = [&](const Tensor& seen) {
    return mean(square(eps - model(seen, level).eps)).item();
  };
  CHECK(loss(with_noise) == doctest::Approx(0.275513233396806).epsilon(1e-12));
  CHECK(loss(without) > 1.0);  // worse than predicting 0: of this input eps is independent
}

TEST_CASE("erratum 3: Algorithm 2 without bars gives an eighth of the variance") {
  const auto sampler = [](bool bar) {
    return Step([bar](std::int64_t t, double x, double z) {
      return algorithm_2(t, x, z, exact_epsilon(t, x, s2), bar, false);
    });
  };
  const double correct = variance_after(sampler(true), 1.0) / s2;
  const double printed = variance_after(sampler(false), 1.0) / s2;
  CHECK(std::abs(correct - 1.0) < 0.01);
  CHECK(printed == doctest::Approx(0.121956).epsilon(1e-4));
  // A network that was trained without bars as well does not make up for it.
  const Step both = [](std::int64_t t, double x, double z) {
    const double variance = (1.0 - schedule.beta(t)) * s2 + schedule.beta(t);
    return algorithm_2(t, x, z, std::sqrt(schedule.beta(t)) / variance * x, false, false);
  };
  CHECK(variance_after(both, 1.0) / s2 == doctest::Approx(0.576748).epsilon(1e-4));
}

TEST_CASE("erratum 3: the sampler of the library takes the corrected steps") {
  const Chain process{schedule};
  Rng noise(4, Purpose::sample);
  const Tensor x_T = randn(noise, {1, 1}, DType::f64);
  double worst = 0.0, worst_without_bar = 0.0;
  sample_ddpm(process.denoiser(test::exact_denoiser(process, s2)), x_T, process.walk(), noise,
              {.loop = {.observer = [&](const SampleStep& step) {
                 const auto t = static_cast<std::int64_t>(step.from.time);
                 noise.seek(static_cast<std::uint64_t>(t) + 1);
                 const double x = step.x_t.item(), z = randn(noise, {1, 1}, DType::f64).item();
                 const double eps = exact_epsilon(t, x, s2), got = step.x_next.item();
                 const double right = algorithm_2(t, x, z, eps, true, false);
                 const double wrong = algorithm_2(t, x, z, eps, false, false);
                 worst = std::max(worst, std::abs(got - right));
                 worst_without_bar = std::max(worst_without_bar, std::abs(got - wrong));
               }}});
  CHECK(worst < 1e-12);
  CHECK(worst_without_bar > 0.01);
}

TEST_CASE("erratum 4: score matching has one half before the square, everywhere or nowhere") {
  // E|s - score|^2 / 2 and E[|s|^2 / 2 + div s] may differ by a constant alone, or training with
  // the second does not lead to the score. Expectations by quadrature.
  const GaussianMixture data{{.7, .3}, {{-1}, {2}}, {{.5}, {.1}}};
  const Levels clean{{}, number(1.0), number(0.0)};
  std::vector<double> grid;
  for (int i = -5000; i <= 5000; ++i) grid.push_back(0.002 * i);
  const Tensor x = parameter(row(grid));
  const Tensor weight = 0.002 * exp(data.log_density(x, clean));
  const auto difference = [&](double a, double half) {
    const Tensor s = tanh(a * x) - a * x;
    const Tensor divergence = grad(sum(s), {x})[0];
    const Tensor known = 0.5 * sum(weight * square(s - data.score(x, clean)));
    return (known - sum(weight * (half * square(s) + divergence))).item();
  };
  CHECK(std::abs(difference(0.5, 0.5) - difference(2.0, 0.5)) < 1e-10);
  CHECK(std::abs(difference(0.5, 1.0) - difference(2.0, 1.0)) > 0.1);
}

TEST_CASE("erratum 5: the score averages over the images that may be behind x_t") {
  const std::vector<double> images = {-2, 0.5, 3}, weights = {.5, .2, .3};
  const GaussianMixture data{weights, {{-2}, {0.5}, {3}}, {{0}, {0}, {0}}};
  const Levels level{{}, number(0.8), number(0.6)};
  const std::vector<double> points = {-2.5, -1, 0, 0.7, 2};
  const Tensor x = parameter(row(points));
  const auto score = grad(sum(data.log_density(x, level)), {x})[0].to_vector<double>();
  const auto worst = [&](const std::function<double(std::size_t k, double x)>& weight_of) {
    double distance = 0.0;
    for (std::size_t i = 0; i < points.size(); ++i) {
      double total = 0.0, average = 0.0;
      for (std::size_t k = 0; k < 3; ++k) {
        const double w = weight_of(k, points[i]);
        total += w;
        average += w * -(points[i] - 0.8 * images[k]) / 0.36;  // the score of q(x_t | x_0)
      }
      distance = std::max(distance, std::abs(average / total - score[i]));
    }
    return distance;
  };
  const auto prior = [&](std::size_t k, double) { return weights[k]; };
  const auto posterior = [&](std::size_t k, double x_t) {
    return weights[k] * std::exp(-0.5 * std::pow((x_t - 0.8 * images[k]) / 0.6, 2));
  };
  CHECK(worst(posterior) < 1e-12);
  CHECK(worst(prior) > 1.0);
}

TEST_CASE("erratum 6: the last step of Algorithm 2 adds no noise") {
  // Data at the one point 0: the sampler must hit it.
  const auto sampler = [](bool last_noise) {
    return Step([last_noise](std::int64_t t, double x, double z) {
      return algorithm_2(t, x, z, exact_epsilon(t, x, 0.0), true, last_noise);
    });
  };
  CHECK(variance_after(sampler(false), 1.0) < 1e-20);
  CHECK(variance_after(sampler(true), 1.0) == doctest::Approx(schedule.beta(0)).epsilon(1e-12));
}

namespace {

// The process x_t = x_0 + sigma_t eps, sigma geometric from .01 to 50, its exact network for data
// N(0, 1), and two samplers.
struct VarianceExploding {
  explicit VarianceExploding(std::int64_t steps) {
    for (std::int64_t t = 0; t < steps; ++t) {
      sigmas.push_back(0.01 * std::pow(5000.0, double(t) / double(steps - 1)));
    }
  }
  std::int64_t steps() const { return static_cast<std::int64_t>(sigmas.size()); }
  double sigma(std::int64_t t) const { return t < 0 ? 0.0 : sigmas[static_cast<std::size_t>(t)]; }
  double x0(std::int64_t t, double x) const { return x / (1.0 + sigma(t) * sigma(t)); }

  // As printed: the estimate of x_0, noised afresh.
  double fresh_noise(std::int64_t t, double x, double z) const {
    return x0(t, x) + sigma(t - 1) * z;
  }
  // A draw from q(x_{t-1} | x_t, x_0): the noise of x_t is kept in part (Song et al. 2021,
  // appendix F).
  double ancestral(std::int64_t t, double x, double z) const {
    const double ratio = std::pow(sigma(t - 1) / sigma(t), 2);
    const double variance = ratio * (std::pow(sigma(t), 2) - std::pow(sigma(t - 1), 2));
    return x0(t, x) + ratio * (x - x0(t, x)) + std::sqrt(variance) * z;
  }
  double final_variance(double (VarianceExploding::*step)(std::int64_t, double, double)
                            const) const {
    const Step f = [this, step](std::int64_t t, double x, double z) {
      return (this->*step)(t, x, z);
    };
    return variance_after(f, std::pow(sigma(steps() - 1), 2), steps() - 1);
  }

  std::vector<double> sigmas;
};

}  // namespace

TEST_CASE("erratum 7: fresh noise at every step loses half of the variance") {
  const double printed[] = {.3326, .4793, .4979, .4998}, correct[] = {.449, .919, .9914, .9990};
  std::int64_t steps = 10;
  for (int i = 0; i < 4; ++i, steps *= 10) {
    const VarianceExploding process(steps);
    CHECK(std::abs(process.final_variance(&VarianceExploding::fresh_noise) - printed[i]) < 1e-4);
    CHECK(std::abs(process.final_variance(&VarianceExploding::ancestral) - correct[i]) < 5e-4);
  }
  const VarianceExploding process(10'000);
  const auto passes = [&](double variance) { return std::abs(variance - 1.0) < 0.01; };
  CHECK(passes(process.final_variance(&VarianceExploding::ancestral)));
  CHECK_FALSE(passes(process.final_variance(&VarianceExploding::fresh_noise)));
}

TEST_CASE("erratum 7: the corrected sampler is DDPM's, on the same levels of noise") {
  const VarianceExploding levels(100);
  const Chain process{NoiseSchedule::from_sigmas(levels.sigmas), Prediction::x0};
  Rng noise(5, Purpose::sample);
  const Tensor x_T = randn(noise, {1, 1}, DType::f64);
  double worst = 0.0, worst_printed = 0.0;
  sample_ddpm(process.denoiser(test::exact_denoiser(process, 1.0)), x_T, process.walk(), noise,
              {.variance = ReverseVariance::beta_tilde,
               .loop = {.observer = [&](const SampleStep& step) {
                 noise.seek(static_cast<std::uint64_t>(step.from.time) + 1);
                 const double z = randn(noise, {1, 1}, DType::f64).item();
                 // x_t of the library is x / sqrt(1 + sigma^2).
                 const auto t = static_cast<std::int64_t>(step.from.time);
                 const double x = step.x_t.item() / step.from.alpha;
                 const double to_library = step.to.alpha;
                 const double right = levels.ancestral(t, x, z) * to_library;
                 const double wrong = levels.fresh_noise(t, x, z) * to_library;
                 worst = std::max(worst, std::abs(step.x_next.item() - right));
                 worst_printed = std::max(worst_printed, std::abs(step.x_next.item() - wrong));
               }}});
  CHECK(worst < 1e-12);
  CHECK(worst_printed > 0.1);
}

TEST_CASE("erratum 7: the start is as noisy as x_T, not N(0, I)") {
  const VarianceExploding process(1000);
  const Step step = [&](std::int64_t t, double x, double z) { return process.ancestral(t, x, z); };
  // The variance of x_t half way through, in units of the right one.
  const auto half_way = [&](double start) {
    return variance_after(step, start, 999, 990) / (1.0 + std::pow(process.sigma(989), 2));
  };
  CHECK(std::abs(half_way(std::pow(process.sigma(999), 2)) - 1.0) < 0.01);
  CHECK(half_way(1.0) < 0.2);
}

TEST_CASE("erratum 8: the predicted noise is smaller than the noise") {
  const Chain process{schedule};
  const Denoiser model = test::exact_denoiser(process, s2);
  const Tensor t = test::all_timesteps(schedule);
  // x_t has mean 0 and the prediction is linear: one point at its standard deviation has E[eps^2].
  std::vector<double> deviation, wanted;
  for (std::int64_t i = 0; i < T; ++i) {
    const double a = schedule.alpha_bar(i), variance = test::marginal_variance(a, s2);
    deviation.push_back(std::sqrt(variance));
    wanted.push_back(1.0 - a * s2 / variance);
  }
  const Tensor power = square(process.denoise(model, row(deviation), t).eps);
  CHECK(max_difference(power, row(wanted)) < 1e-12);
  CHECK(max(power).item() < 1.0);  // of unit variance, as printed, it is nowhere
  CHECK(max_difference(power, Tensor::full({T, 1}, 1.0, DType::f64)) > 0.99);
  CHECK(mean(power).item() == doctest::Approx(1.0 - 0.173053406083686).epsilon(1e-12));
}

TEST_CASE("erratum 9: a network predicts the noise or a less noisy image, not both") {
  // The minimum of E|x_{t-1} - f(x_t)|^2 is the regression of x_{t-1} on x_t.
  const auto less_noisy = [](std::int64_t t, double x) {
    const double before = test::marginal_variance((t == 0 ? 1.0 : schedule.alpha_bar(t - 1)), s2);
    const double now = test::marginal_variance(schedule.alpha_bar(t), s2);
    return std::sqrt((1.0 - schedule.beta(t))) * before / now * x;
  };
  const Step as_noise = [&](std::int64_t t, double x, double z) {
    return algorithm_2(t, x, z, less_noisy(t, x), true, false);
  };
  const Step again_and_again = [&](std::int64_t t, double x, double) { return less_noisy(t, x); };
  const Step correct = [&](std::int64_t t, double x, double z) {
    return algorithm_2(t, x, z, exact_epsilon(t, x, s2), true, false);
  };
  CHECK(std::abs(variance_after(correct, 1.0) / s2 - 1.0) < 0.01);
  CHECK(std::abs(variance_after(as_noise, 1.0) / s2 - 1.0) > 0.25);
  CHECK(variance_after(again_and_again, 1.0) / s2 < 1e-4);  // every image is the mean of all
  // A mean less noisy than x_t plus the variance of the step is the corrected sampler again.
  const Step with_noise = [&](std::int64_t t, double x, double z) {
    return less_noisy(t, x) + (t == 0 ? 0.0 : std::sqrt(schedule.beta(t))) * z;
  };
  CHECK(std::abs(variance_after(with_noise, 1.0) - variance_after(correct, 1.0)) < 1e-12);
}
