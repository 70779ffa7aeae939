// EDM's preconditioning against second moments, exact by a design of four points, and against the
// exact denoiser of Gaussian mixtures.

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "diffusion/models/mlp.h"
#include "diffusion/sampling/samplers.h"
#include "nn/flat.h"
#include "tensor/error.h"
#include "tests/compare.h"
#include "tests/devices.h"
#include "tests/oracles/gaussian_mixture.h"

using namespace ito;
using oracle::GaussianMixture;
using test::Chain;
using test::max_difference;

namespace {

// x0 and eps at (+-sigma_data, +-1): the four points have the second moments of N(0, sigma_data^2)
// and N(0, 1), so the mean of a square of anything linear in them is its expectation.
struct Design {
  Tensor x0, eps, sigma;
};
Design design(double sigma_data, double sigma) {
  return {sigma_data * Tensor::from<double>({1, 1, -1, -1}, {4, 1}),
          Tensor::from<double>({1, -1, 1, -1}, {4, 1}), Tensor::full({4}, sigma, DType::f64)};
}

// Table 1 of the paper.
struct Scaling {
  Tensor skip, out, in, noise;
};
Scaling table_1(double sigma_data, const Tensor& sigma) {
  const Tensor s = reshape(sigma, Shape{sigma.numel(), 1});
  const Tensor sum_of_squares = square(s) + sigma_data * sigma_data;
  return {sigma_data * sigma_data / sum_of_squares, s * sigma_data / sqrt(sum_of_squares),
          1.0 / sqrt(sum_of_squares), 0.25 * log(sigma)};
}

// EDM's parametrisation of x = x0 + sigma eps, sigma [N].
struct Edm {
  Parametrization p;
  Path path = Path::edm();

  explicit Edm(double sigma_data = 0.5) : p(Parametrization::edm(sigma_data)) {}
  Levels levels(const Tensor& sigma, const Tensor& x) const { return path.levels(sigma, x); }
  Tensor losses(const Network& F, const Tensor& x0, const Tensor& sigma, const Tensor& eps) const {
    const Levels at = levels(sigma, x0);
    return p.losses(p.call(F, add_noise(x0, eps, at), at), x0, eps, at);
  }
  Tensor denoise(const Network& F, const Tensor& x, const Tensor& sigma) const {
    return p.denoiser(F)(x, levels(sigma, x)).x0;
  }
  Tensor target(const Tensor& x0, const Tensor& sigma, const Tensor& eps) const {
    return p.target(x0, eps, levels(sigma, x0));
  }
};

// The farthest that the variances of what F is given and of what it should put out are from 1.
double variance_error(const Edm& edm, double sigma_data) {
  double worst = 0.0;
  for (const double level : {0.002, 0.03, 0.5, 1.0, 7.0, 80.0}) {
    const Design d = design(sigma_data, level);
    double input = 0.0;
    const Network watch = [&](const Tensor& x, const Tensor&) {
      input = mean(square(x)).item();
      return x;
    };
    edm.losses(watch, d.x0, d.sigma, d.eps);
    const double target = mean(square(edm.target(d.x0, d.sigma, d.eps))).item();
    worst = std::max({worst, std::abs(input - 1.0), std::abs(target - 1.0)});
  }
  return worst;
}

// The network that makes D exact for this data: eq. 7 solved for F.
Network exact_network(double sigma_data, const GaussianMixture& data) {
  return [sigma_data, data](const Tensor& input, const Tensor& c_noise) {
    const Tensor sigma = exp(4.0 * c_noise);
    const Scaling c = table_1(sigma_data, sigma);
    const Tensor x = input / c.in;
    const Levels level{
        {}, Tensor::scalar(1.0, DType::f64), reshape(sigma, Shape{sigma.numel(), 1})};
    return (data.x0(x, level) - c.skip * x) / c.out;
  };
}

const Network zero = [](const Tensor& x, const Tensor&) { return 0.0 * x; };

const GaussianMixture wide_mixture{
    {.5, .3, .2}, {{-2, 0}, {3, 1}, {0, 0}}, {{.25, .5}, {1, 4}, {.01, 1}}};

}  // namespace

TEST_CASE("edm: inputs and targets have variance 1 at every noise level") {
  for (const double sigma_data : {0.5, 1.0, 2.0}) {
    CHECK(variance_error(Edm(sigma_data), sigma_data) < 1e-14);
    CHECK(variance_error(Edm(1.1 * sigma_data), sigma_data) > 0.05);
  }
}

TEST_CASE("edm: D and the target are those of the paper's table") {
  Rng rng(1, Purpose::test);
  const Edm edm(0.8);
  const Tensor x0 = randn(rng, {40, 3}, DType::f64), eps = randn(rng, {40, 3}, DType::f64);
  const Tensor sigma = edm.path.draw_times(rng, 40, DType::f64);
  const Tensor x = x0 + reshape(sigma, Shape{40, 1}) * eps;
  const Scaling c = table_1(0.8, sigma);
  const Network F = [](const Tensor& input, const Tensor& noise) {
    return tanh(input + reshape(noise, Shape{40, 1}));
  };
  const Tensor D = c.skip * x + c.out * F(c.in * x, c.noise);
  CHECK(max_difference(edm.denoise(F, x, sigma), D) < 1e-14);
  CHECK(max_difference(edm.target(x0, sigma, eps), (x0 - c.skip * x) / c.out) < 1e-12);
  const Scaling wrong = table_1(0.5, sigma);
  CHECK(max_difference(edm.denoise(F, x, sigma), wrong.skip * x + c.out * F(c.in * x, c.noise)) >
        0.1);
}

TEST_CASE("edm: on normal data F = 0 is the best and its loss is 1") {
  const Edm edm(0.7);
  for (const double level : {0.002, 0.1, 1.0, 80.0}) {
    CAPTURE(level);
    const Design d = design(0.7, level);
    const auto loss = [&](double slope) {
      const Network F = [slope](const Tensor& x, const Tensor&) { return slope * x; };
      return mean(edm.losses(F, d.x0, d.sigma, d.eps)).item();
    };
    CHECK(std::abs(loss(0.0) - 1.0) < 1e-13);
    CHECK(loss(1e-3) > 1.0 + 0.9e-6);  // the target has nothing to do with the input
    CHECK(loss(-1e-3) > 1.0 + 0.9e-6);
    // And D is then the mean of x0 given x, s^2 / (s^2 + sigma^2) x.
    const Tensor x = d.x0 + level * d.eps;
    const double factor = 0.49 / (0.49 + level * level);
    CHECK(max_difference(edm.denoise(zero, x, d.sigma), factor * x) < 1e-14 * (1 + level));
    // With data of another variance neither holds.
    const Edm other(0.5);
    CHECK(std::abs(mean(other.losses(zero, d.x0, d.sigma, d.eps)).item() - 1.0) > 1e-6);
  }
}

TEST_CASE("edm: the loss is the error of D with the weight 1 / c_out^2") {
  Rng rng(2, Purpose::test);
  const Edm edm;
  const Tensor x0 = 0.5 * randn(rng, {50, 2, 3}, DType::f64),
               eps = randn(rng, {50, 2, 3}, DType::f64);
  const Tensor sigma = edm.path.draw_times(rng, 50, DType::f64),
               s = reshape(sigma, Shape{50, 1, 1});
  const Network F = [](const Tensor& x, const Tensor& c) {
    return tanh(x + reshape(c, Shape{50, 1, 1}));
  };
  const Tensor error = edm.denoise(F, x0 + s * eps, sigma) - x0;
  const Tensor weight = (square(s) + 0.25) / square(s * 0.5);
  const Tensor wanted = mean(weight * square(error), {1, 2});
  const Tensor got = edm.losses(F, x0, sigma, eps);
  CHECK(max(abs(got - wanted) / wanted).item() < 1e-11);
  const Tensor unweighted = mean(square(error), {1, 2});
  CHECK(max(abs(got - unweighted) / unweighted).item() > 1.0);
}

TEST_CASE("edm: training noise is lognormal") {
  Rng rng(3, Purpose::test);
  const std::int64_t n = 100'000;
  const Tensor log_sigma = log(Path::edm().draw_times(rng, n, DType::f64));
  const double m = mean(log_sigma).item(), second = mean(square(log_sigma + 1.2)).item();
  CHECK(std::abs(m + 1.2) < 4 * 1.2 / std::sqrt(double(n)));
  CHECK(std::abs(second - 1.44) < 4 * 1.44 * std::sqrt(2.0 / double(n)));
  CHECK(Path::edm().draw_times(rng, 3).dtype() == DType::f32);
}

TEST_CASE("edm: the exact network is the exact denoiser at every level of every process") {
  const Parametrization p = Parametrization::edm(1.3);
  const Network F = exact_network(1.3, wide_mixture);
  const Denoiser model = p.denoiser(F);
  Parametrization unscaled = p;  // is given x, not c_in x
  unscaled.scale_input = false;
  Rng rng(4, Purpose::test);
  std::vector<Level> levels = NoiseSchedule::linear(100).levels();
  for (const Path& path : {Path::sub_vp(), Path::ve(), Path::edm(), Path::rectified_flow()}) {
    for (const double u : {0.01, 0.3, 0.7, 0.95}) {
      levels.push_back(path.level(path.min_time() + u * (path.max_time() - path.min_time())));
    }
  }
  double worst = 0.0, forgotten = 0.0;
  for (const Level& level : levels) {
    const double size = std::hypot(level.alpha, level.sigma);
    const Tensor x = size * randn(rng, {20, 2}, DType::f64);
    const Levels at = same_level(level, x);
    const Tensor exact = wide_mixture.x0(x, at);
    worst = std::max(worst, max_difference(model(x, at).x0, exact));
    forgotten = std::max(forgotten, max_difference(unscaled.denoiser(F)(x, at).x0, exact));
  }
  CHECK(worst < 1e-11);
  CHECK(forgotten > 0.1);
}

TEST_CASE("edm: samplers take the path of the exact denoiser") {
  const Chain with_v{NoiseSchedule::karras(40), Prediction::v};
  const Denoiser model = Parametrization::edm(1.3).denoiser(exact_network(1.3, wide_mixture));
  Rng rng(5, Purpose::sample);
  const Tensor x_T = randn(rng, {30, 2}, DType::f64);
  const Tensor a = sample_ddim(model, x_T, with_v.walk(), rng);
  const Tensor b =
      sample_ddim(oracle::exact_denoiser(with_v, wide_mixture), x_T, with_v.walk(), rng);
  CHECK(max_difference(a, b) < 1e-9);  // the flow between components spreads rounding
}

TEST_CASE("edm: a network of points samples on every device, a step recorded or not") {
  const std::vector<Level> levels = sampling_levels(Path::edm(), 10, Spacing::karras);
  const auto samples = [&](Device device, bool graph) {
    Rng init(6, Purpose::init), rng(7, Purpose::sample);
    Mlp mlp({.width = 16, .continuous_time = true}, init);
    mlp.out.weight = parameter(0.1 * randn(init, mlp.out.weight.shape()));  // it starts at 0
    nn::FlatParameters flat(mlp, device);
    const Tensor x_T = 80.0 * randn(rng, {40, 2}, DType::f32, device);
    const Denoiser model = Parametrization::edm().denoiser(std::cref(mlp));
    return sample_heun(model, x_T, levels, rng, {.loop = {.graph = graph}}).to(Device::cpu());
  };
  const Tensor on_cpu = samples(Device::cpu(), true);
  for (const Device device : testing::devices()) {
    const Tensor recorded = samples(device, true);
    CHECK(max_difference(recorded, on_cpu) < 1e-4);
    CHECK(max_difference(recorded, samples(device, false)) == 0.0);
  }
}

TEST_CASE("edm: what is refused") {
  const Edm edm;
  const Tensor x = Tensor::zeros({4, 2}), sigma = Tensor::full({4}, 1.0);
  CHECK_THROWS_AS(edm.denoise(zero, x, Tensor::full({3}, 1.0)), ShapeError);
  CHECK_THROWS_AS(edm.losses(zero, x, sigma, Tensor::zeros({4, 3})), ShapeError);
  CHECK_THROWS_AS(edm.denoise(zero, x, Tensor::full({4}, 1.0, DType::f64)), DTypeError);
}

TEST_CASE("paths: levels by number and by tensor agree, and are those of the papers") {
  for (const Path& path :
       {Path::vp(), Path::sub_vp(), Path::ve(), Path::edm(), Path::rectified_flow()}) {
    std::vector<double> times;
    for (int i = 0; i <= 20; ++i) {
      times.push_back(path.min_time() + i * (path.max_time() - path.min_time()) / 20.0);
    }
    const Tensor t = Tensor::from(times, {21});
    const Levels levels = path.levels(t, Tensor::zeros({21, 3}, DType::f64));
    const auto alpha = levels.alpha.to_vector<double>(), sigma = levels.sigma.to_vector<double>();
    for (std::size_t i = 0; i < 21; ++i) {
      const Level level = path.level(times[i]);
      CHECK(std::abs(alpha[i] - level.alpha) < 1e-14);
      CHECK(std::abs(sigma[i] - level.sigma) < 1e-13 * (1.0 + level.sigma));
      const double ratio = level.noise_to_signal();
      if (std::isfinite(ratio)) {
        CHECK(path.level_at(ratio).noise_to_signal() == doctest::Approx(ratio).epsilon(1e-12));
      }
    }
    CHECK(path.level_at(1e-9) == path.level(path.min_time()));
    CHECK_THROWS_AS(path.level(-1.0), ValueError);
    CHECK_THROWS_AS(path.level_at(0.0), ValueError);
    // In f32 the smallest noise keeps its digits.
    const Tensor first = Tensor::full({1}, path.min_time());
    const Level wanted = path.level(path.min_time());
    CHECK(path.levels(first, Tensor::zeros({1, 1})).sigma.item() ==
          doctest::Approx(wanted.sigma).epsilon(1e-6));
  }
  // d log alpha / dt = -beta / 2 and, variance preserving, alpha^2 + sigma^2 = 1.
  const Level half = Path::vp().level(0.5);
  CHECK(half.alpha == doctest::Approx(std::exp(-0.5 * (0.05 + 0.5 * 19.9 * 0.25))).epsilon(1e-14));
  CHECK(std::hypot(half.alpha, half.sigma) == doctest::Approx(1.0).epsilon(1e-14));
  CHECK(Path::sub_vp().level(0.5).sigma == doctest::Approx(half.sigma * half.sigma).epsilon(1e-14));
  CHECK(Path::ve().level(0.5).sigma == doctest::Approx(std::sqrt(0.01 * 50.0)).epsilon(1e-14));
  CHECK(Path::edm().level(3.0) == Level{3.0, 1.0, 3.0});
  CHECK(Path::rectified_flow().level(0.25) == Level{0.25, 0.75, 0.25});
  CHECK_THROWS_AS(Path::vp(2.0, 1.0), ValueError);
  CHECK_THROWS_AS(Path::ve(0.0, 1.0), ValueError);
  CHECK_THROWS_AS(Path::rectified_flow(0.0), ValueError);
}
