#include "diffusion/sampling/interpolate.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/error.h"
#include "tests/compare.h"
#include "tests/oracles/gaussian_data.h"

using namespace ito;
using test::Chain;
using test::exact_denoiser;
using test::same_bits;

namespace {

Tensor lengths(const Tensor& x) { return sqrt(sum(square(x), {1})); }

Tensor drawn(std::uint64_t step, const Shape& shape, DType dtype = DType::f64) {
  Rng rng(51, Purpose::test);
  rng.seek(step);
  return randn(rng, shape, dtype);
}

}  // namespace

TEST_CASE("slerp: on the unit circle the angle is the fraction of a quarter turn") {
  const Tensor a = Tensor::from<double>({1, 0, 3, 0}, {2, 2}),
               b = Tensor::from<double>({0, 1, 0, 3}, {2, 2});
  for (const double fraction : {0.1, 0.25, 0.5, 0.9}) {
    const double angle = fraction * std::acos(-1.0) / 2.0;
    const auto x = slerp(a, b, fraction).to_vector<double>();
    CHECK(std::abs(x[0] - std::cos(angle)) < 1e-15);
    CHECK(std::abs(x[1] - std::sin(angle)) < 1e-15);
    CHECK(std::abs(x[2] - 3.0 * std::cos(angle)) < 3e-15);
    CHECK(std::abs(x[3] - 3.0 * std::sin(angle)) < 3e-15);
  }
}

TEST_CASE("slerp: keeps the length between ends of one length; a straight line does not") {
  for (const auto dtype : {DType::f32, DType::f64}) {
    const Shape shape{3, 40};
    Tensor a = drawn(0, shape, dtype), b = drawn(1, shape, dtype);
    a = a / reshape(lengths(a), Shape{3, 1});
    b = b / reshape(lengths(b), Shape{3, 1});
    const double bound = dtype == DType::f32 ? 1e-6 : 1e-14;
    for (const double fraction : {0.0, 0.2, 0.5, 0.77, 1.0}) {
      CHECK(max(abs(lengths(slerp(a, b, fraction)) - 1.0)).item() < bound);
    }
    CHECK(max(abs(lengths(0.5 * a + 0.5 * b) - 1.0)).item() > 0.1);
  }
}

TEST_CASE("slerp: ends bit by bit, the same from both sides, equal ends, opposite ends") {
  const Tensor a = drawn(2, {2, 3, 3, 1}), b = drawn(3, {2, 3, 3, 1});
  CHECK(same_bits(slerp(a, b, 0.0), a));
  CHECK(same_bits(slerp(a, b, 1.0), b));
  CHECK(max(abs(slerp(a, b, 0.3) - slerp(b, a, 0.7))).item() < 1e-15);
  CHECK(max(abs(slerp(a, a, 0.4) - a)).item() < 1e-15);
  CHECK(max(abs(slerp(a, 0.0 * a, 0.25) - 0.75 * a)).item() < 1e-15);
  CHECK_THROWS_AS(slerp(a, -a, 0.5), ValueError);
  CHECK_THROWS_AS(slerp(a, slice(b, 0, 0, 1), 0.5), ShapeError);
  CHECK_THROWS_AS(slerp(a, cast(b, DType::f32), 0.5), DTypeError);
}

TEST_CASE("slerp: at fraction 0 DDIM gives the plain sample") {
  const Chain process{NoiseSchedule::linear(100)};
  const Denoiser model = exact_denoiser(process, 0.25);
  const Tensor a = drawn(4, {2, 3}, DType::f32), b = drawn(5, {2, 3}, DType::f32);
  const auto sample = [&](const Tensor& x_T) {
    return sample_ddim(process.denoiser(model), x_T, process.walk(10), Rng(0));
  };
  CHECK(same_bits(sample(slerp(a, b, 0.0)), sample(a)));
  CHECK_FALSE(same_bits(sample(slerp(a, b, 0.1)), sample(a)));
}

TEST_CASE("interpolate_ddpm: mixed at t there is as much noise as at t") {
  // What the sampler starts from is seen by its observer: x_t of the first step.
  const Chain process{NoiseSchedule::linear()};
  const Denoiser model = exact_denoiser(process, 0.25);
  const std::int64_t t = 300;
  const Shape shape{4, 2000};
  const Tensor a = Tensor::full(shape, 0.5, DType::f64), b = Tensor::full(shape, -1.0, DType::f64);
  for (const double fraction : {0.0, 0.5, 0.8}) {
    Tensor start;
    const Observer observer = [&](const SampleStep& step) {
      if (step.step == 1) start = step.x_t.clone();
      if (step.step == 1) CHECK(step.from.time == t);
    };
    const auto walk = sampling_levels(process.schedule, {0, 150, t});
    interpolate_ddpm(model, a, b, fraction, walk, Rng(3), {.loop = {.observer = observer}});
    const Tensor signal = process.schedule.level(t).alpha * ((1.0 - fraction) * a + fraction * b);
    const double variance = mean(square(start - signal)).item();
    // 8000 draws: a standard error of sqrt(2 / 8000), 1.6 %.
    const double wanted = process.schedule.one_minus_alpha_bar(t);
    CHECK(std::abs(variance / wanted - 1.0) < 4 * 0.016);
    // Noise of their own for both would leave (1 - f)^2 + f^2 of it.
    const double own = (1.0 - fraction) * (1.0 - fraction) + fraction * fraction;
    if (fraction > 0.0) CHECK(std::abs(variance / wanted - own) > 10 * 0.016);
  }
}

TEST_CASE("interpolate_ddpm: the ends are reconstructions, better the lower t") {
  const Chain process{NoiseSchedule::linear()};
  const Denoiser model = exact_denoiser(process, 1.0);
  const Tensor a = drawn(6, {2, 50}), b = drawn(7, {2, 50});
  const auto down_from = [&](std::int64_t t) {
    const std::vector<Level> all = process.walk();
    return std::vector<Level>(all.end() - t - 2, all.end());
  };
  const auto between = [&](double fraction, std::int64_t t) {
    return interpolate_ddpm(model, a, b, fraction, down_from(t), Rng(4));
  };
  double before = 0.0;
  for (const std::int64_t t : {0, 50, 300, 999}) {
    const double error = mean(square(between(0.0, t) - a)).item();
    CHECK(error > before);
    before = error;
    CHECK(same_bits(between(1.0, t), interpolate_ddpm(model, b, a, 0.0, down_from(t), Rng(4))));
  }
  CHECK(mean(square(between(0.0, 50) - a)).item() < 0.1);
  CHECK(before > 1.0);  // from pure noise nothing of a is left
  CHECK_THROWS_AS(interpolate_ddpm(model, a, b, 0.5, {}, Rng(4)), ValueError);
}
