// Distances between point sets against their closed forms for normal distributions.
#include "diffusion/evaluation/point_metrics.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "data/points.h"
#include "tensor/error.h"

using namespace ito;

namespace {

// x ~ N(m, s^2 I), [n, 2].
Tensor normal(Rng& rng, std::int64_t n, double m, double s) {
  return m + s * randn(rng, {n, 2}, DType::f64);
}

// E k(x, y) for x ~ N(mx, sx^2 I), y ~ N(my, sy^2 I) in the plane: x - y is normal too.
double mean_kernel(double mx, double sx, double my, double sy, double h) {
  const double total = h * h + sx * sx + sy * sy;
  return h * h / total * std::exp(-(mx - my) * (mx - my) / total);  // |(1, 1)|^2 / 2 = 1
}

}  // namespace

TEST_CASE("squared_mmd: three points by hand") {
  const Tensor a = Tensor::from<double>({0, 0, 1, 0}, {2, 2});
  const Tensor b = Tensor::from<double>({0, 0, 0, 2}, {2, 2});
  const auto k = [](double squared) { return std::exp(-squared / 2); };
  const double across = (1 + k(4) + k(1) + k(5)) / 4;
  CHECK(squared_mmd(a, b, {1.0}) == doctest::Approx(k(1) + k(4) - 2 * across).epsilon(1e-13));
}

TEST_CASE("squared_mmd: of normal distributions it is the closed form, without bias") {
  const double m = 0.5, s = 1.4, h = 0.7;
  const double wanted =
      mean_kernel(0, 1, 0, 1, h) + mean_kernel(m, s, m, s, h) - 2 * mean_kernel(0, 1, m, s, h);
  Rng rng(1, Purpose::test);
  double total = 0, squares = 0, biased = 0;
  const int repeats = 200;
  const double n = 60;
  for (int i = 0; i < repeats; ++i) {
    const double got = squared_mmd(normal(rng, 60, 0, 1), normal(rng, 60, m, s), {h});
    total += got / repeats;
    squares += got * got / repeats;
    biased += (got + (2.0 - mean_kernel(0, 1, 0, 1, h) - mean_kernel(m, s, m, s, h)) / n) / repeats;
  }
  const double error = std::sqrt((squares - total * total) / repeats);
  CHECK(std::abs(total - wanted) < 4 * error);
  CHECK(std::abs(biased - wanted) > 4 * error);  // with the pairs of a point with itself
}

TEST_CASE("squared_mmd: larger than a block, f32 and f64 agree") {
  Rng rng(2, Purpose::test);
  const Tensor a = normal(rng, 1100, 0, 1), b = normal(rng, 700, 0.3, 1);
  const auto narrow = [](const Tensor& x) {
    const auto v = x.to_vector<double>();
    return Tensor::from(std::vector<float>(v.begin(), v.end()), x.shape());
  };
  const double wide = squared_mmd(a, b);
  CHECK(squared_mmd(narrow(a), narrow(b)) == doctest::Approx(wide).epsilon(1e-5));
  CHECK(squared_mmd(b, a) == doctest::Approx(wide).epsilon(1e-12));
}

TEST_CASE("sliced_wasserstein: of normal distributions it is the closed form") {
  // Projections are N(m theta . (1, 1), s^2): W2^2 = (difference of means)^2 + (difference of s)^2,
  // and the mean of (theta . (m, m))^2 over directions is |(m, m)|^2 / 2 = m^2.
  Rng rng(3, Purpose::test);
  const Tensor directions = random_directions(rng, 400, 2);
  const double m = 0.5, s = 1.5;
  const double got =
      sliced_wasserstein(normal(rng, 40'000, 0, 1), normal(rng, 40'000, m, s), directions);
  CHECK(got == doctest::Approx(m * m + (s - 1) * (s - 1)).epsilon(0.05));
  const Tensor a = normal(rng, 100, 0, 1);
  CHECK(sliced_wasserstein(a, a, directions) == 0.0);
  // A shift alone, along one axis, along one direction: exact.
  const Tensor axis = Tensor::from<double>({0.6, 0.8}, {1, 2});
  CHECK(sliced_wasserstein(a, a + m, axis) == doctest::Approx(0.49).epsilon(1e-12));
}

TEST_CASE("metric_floor: data pass it, a wrong distribution does not") {
  using data::PointSet;
  Rng rng(4, Purpose::data);
  const std::int64_t n = 500;
  const Tensor directions = random_directions(rng, 50, 2);
  const auto sliced = [&](const Tensor& a, const Tensor& b) {
    return sliced_wasserstein(a, b, directions);
  };
  const auto mmd = [](const Tensor& a, const Tensor& b) { return squared_mmd(a, b); };
  for (const PointSet set : data::point_sets) {
    CAPTURE(name_of(set));
    std::vector<Tensor> draws;
    for (int i = 0; i < 20; ++i) draws.push_back(data::draw_points(set, rng, n));
    const Tensor reference = data::draw_points(set, rng, n), fresh = data::draw_points(set, rng, n);
    const Tensor noise = randn(rng, {n, 2}, DType::f64);  // has the set's mean and variance
    const MetricFloor mmd_floor = metric_floor(mmd, draws);
    const MetricFloor sliced_floor = metric_floor(sliced, draws);
    CHECK(squared_mmd(fresh, reference) < mmd_floor.limit());
    CHECK(squared_mmd(noise, reference) > mmd_floor.limit());
    CHECK(sliced(fresh, reference) < sliced_floor.limit());
    CHECK(sliced(1.2 * fresh, reference) > sliced_floor.limit());
  }
}

TEST_CASE("point metrics: what is refused") {
  const Tensor a = Tensor::zeros({4, 2}, DType::f64), b = Tensor::zeros({4, 3}, DType::f64);
  Rng rng(5, Purpose::test);
  const Tensor directions = random_directions(rng, 3, 2);
  CHECK_THROWS_AS(squared_mmd(a, b), ShapeError);
  CHECK_THROWS_AS(squared_mmd(a, Tensor::zeros({1, 2}, DType::f64)), ShapeError);
  CHECK_THROWS_AS(sliced_wasserstein(a, Tensor::zeros({5, 2}, DType::f64), directions), ShapeError);
  CHECK_THROWS_AS(sliced_wasserstein(b, b, directions), ShapeError);
  CHECK_THROWS_AS(metric_floor([](const Tensor&, const Tensor&) { return 0.0; }, {a, a}),
                  ValueError);
}
