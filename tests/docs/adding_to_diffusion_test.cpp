// The examples of docs/adding_to_diffusion.md do what the page says.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops/reduce.h"
#include "tests/docs/adding_to_diffusion/examples.h"
#include "tests/oracles/gaussian_data.h"

using namespace ito;
using test::Chain;

namespace {

// The relative error at x_0 for data N(0, 1/4): along the ODE x grows as its standard deviation.
double error_of(const Denoiser& model, const std::vector<Level>& levels,
                const std::function<Level(double)>& level_at) {
  const Level& first = levels.front();
  const Tensor x_T = Tensor::full({1, 1}, 1.0, DType::f64);
  const double x0 = example::sample_midpoint(model, x_T, levels, level_at).item();
  return std::abs(x0 * std::hypot(0.5 * first.alpha, first.sigma) / 0.5 - 1.0);
}

}  // namespace

TEST_CASE("adding to diffusion: the sampler of the page is of second order") {
  const Denoiser model = test::exact_denoiser(Chain{NoiseSchedule::linear(1)}, 0.25);
  const NoiseSchedule schedule = NoiseSchedule::karras(80);
  const auto error = [&](std::int64_t steps) {
    return error_of(model, sampling_levels(schedule, steps, Spacing::karras),
                    [&](double r) { return schedule.level_at(r); });
  };
  CHECK(error(20) / error(40) > 3.0);
  CHECK(error(80) < 1e-2);
}

TEST_CASE("adding to diffusion: the sampler tells a network the time of its level, on any path") {
  for (const Path& path :
       {Path::ve(), Path::edm(), Path::sub_vp(), example::trigonometric_path()}) {
    // eps of data N(0, 1/4) by a network that sees x and time alone.
    const Network network = [&](const Tensor& x, const Tensor& time) {
      const Levels at = path.levels(time, x);
      return at.sigma * x / (0.25 * square(at.alpha) + square(at.sigma));
    };
    const Denoiser model = Parametrization{}.denoiser(network);
    const auto error = [&](std::int64_t steps) {
      return error_of(model, sampling_levels(path, steps, Spacing::karras),
                      [&](double r) { return path.level_at(r); });
    };
    CHECK(error(80) < 1e-2);
  }
}

TEST_CASE("adding to diffusion: the path of the page has its levels, of numbers and of tensors") {
  const Path path = example::trigonometric_path();
  const Level half = path.level(0.5);
  CHECK(half.alpha == doctest::Approx(std::sqrt(0.5)).epsilon(1e-14));
  CHECK(half.sigma == doctest::Approx(std::sqrt(0.5)).epsilon(1e-14));
  CHECK(path.level_at(std::sqrt(3.0)).time == doctest::Approx(2.0 / 3.0).epsilon(1e-12));
  Rng rng(1, Purpose::test);
  const Tensor t = path.draw_times(rng, 100, DType::f64);
  CHECK(max(-t).item() <= -1e-3);
  CHECK(max(t).item() <= 0.999);
  const Levels levels = path.levels(t, Tensor::zeros({100, 2}, DType::f64));
  CHECK(max(abs(square(levels.alpha) + square(levels.sigma) - 1.0)).item() < 1e-14);
  const auto swap = [](double low, double high) {
    return Path::of(low, high, [](const auto& time) { return std::pair{1.0 - time, 1.0 * time}; });
  };
  CHECK_THROWS_AS(swap(0.5, 0.5), ValueError);
  CHECK_THROWS_AS(swap(-0.1, 0.5), ValueError);
}

TEST_CASE("adding to diffusion: the prediction of the page gives the exact estimates") {
  const Denoiser exact = test::exact_denoiser(Chain{NoiseSchedule::linear(1)}, 0.25);
  const Level level = NoiseSchedule::linear().level(300);
  Rng rng(1, Purpose::test);
  const Tensor x = randn(rng, {5, 2}, DType::f64);
  const Levels at = same_level(level, x);
  const Network network = [&](const Tensor& y, const Tensor&) {
    return at.alpha * exact(y, at).x0;
  };
  const Denoised got = example::signal_denoiser(network)(x, at), wanted = exact(x, at);
  CHECK(max(abs(got.x0 - wanted.x0)).item() < 1e-13);
  CHECK(max(abs(got.eps - wanted.eps)).item() < 1e-13);
}

TEST_CASE("adding to diffusion: the network of the page is guided and sampled as any other") {
  Rng init(2, Purpose::init), rng(3, Purpose::sample);
  const example::TinyNetwork network(init);
  const Condition one = same_label(1, 6), any = same_label(3, 6);
  const auto sample = [&](double scale) {
    const Network led = classifier_free_guidance(std::cref(network), one, any, scale);
    const Denoiser model = thresholded(Parametrization{Prediction::v}.denoiser(led), clip_x0);
    return sample_ddim(model, randn(rng, {6, 2}),
                       sampling_levels(example::trigonometric_path(), 8, Spacing::even), rng);
  };
  rng.seek(0);
  const Tensor free = sample(0.0);
  rng.seek(0);
  CHECK(max(abs(sample(3.0) - free)).item() > 1e-3);
}
