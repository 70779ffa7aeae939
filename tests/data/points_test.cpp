#include "data/points.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/error.h"

using namespace ito;
using namespace ito::data;

namespace {

constexpr std::int64_t n = 200'000;

// Mean 0 and variance 1 (averaged over the coordinates) within four standard errors. The fourth
// moments of these sets are below those of a normal distribution with variance 2.
bool standardised(const Tensor& x) {
  const std::vector<double> m = mean(x, {0}).to_vector<double>();
  const double second = mean(square(x)).item();
  const double root = std::sqrt(static_cast<double>(n));
  return std::abs(m[0]) < 4 * 1.5 / root && std::abs(m[1]) < 4 * 1.5 / root &&
         std::abs(second - 1.0) < 4 * std::sqrt(8.0) / root;
}

// The distance from (x, y) to the nearest of the curve's points.
template <class Curve>
double distance(double x, double y, const Curve& curve) {
  double nearest = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= 2000; ++i) {
    const auto [cx, cy] = curve(i / 2000.0);
    nearest = std::min(nearest, std::hypot(x - cx, y - cy));
  }
  return nearest;
}

}  // namespace

TEST_CASE("points: every set has mean 0 and variance 1") {
  for (const PointSet set : point_sets) {
    CAPTURE(name_of(set));
    Rng rng(1, Purpose::test);
    const Tensor x = draw_points(set, rng, n);
    CHECK(x.shape() == Shape{n, 2});
    CHECK(standardised(x));
    CHECK_FALSE(standardised(1.02 * x));  // what the check would not let pass
    CHECK_FALSE(standardised(x + 0.02));
  }
}

TEST_CASE("points: a row depends on the generator and its number, not on the others") {
  for (const PointSet set : point_sets) {
    Rng rng(2, Purpose::test), tail(2, Purpose::test), other(3, Purpose::test);
    const auto whole = draw_points(set, rng, 50).to_vector<double>();
    tail.seek(0, 30);
    const auto part = draw_points(set, tail, 20).to_vector<double>();
    CHECK(std::equal(part.begin(), part.end(), whole.begin() + 60));
    CHECK(draw_points(set, other, 50).to_vector<double>() != whole);
    Rng again(2, Purpose::test);
    const auto rounded = draw_points(set, again, 50, DType::f32).to_vector<float>();
    CHECK(rounded[7] == static_cast<float>(whole[7]));
  }
}

TEST_CASE("points: the eight normal distributions are where ring_of_gaussians says") {
  Rng rng(4, Purpose::test);
  const auto x = draw_points(PointSet::gaussians, rng, 8000).to_vector<double>();
  const RingOfGaussians ring = ring_of_gaussians();
  std::array<int, 8> members{};
  double squares = 0.0;
  for (std::size_t i = 0; i < x.size(); i += 2) {
    double nearest = std::numeric_limits<double>::infinity();
    std::size_t which = 0;
    for (std::size_t k = 0; k < 8; ++k) {
      const double d = std::hypot(x[i] - ring.centres[k][0], x[i + 1] - ring.centres[k][1]);
      if (d < nearest) {
        nearest = d;
        which = k;
      }
    }
    ++members[which];
    squares += nearest * nearest;
  }
  for (const int count : members) CHECK(std::abs(count - 1000) < 4 * std::sqrt(1000.0 * 7 / 8));
  // Half the squared distance has mean s^2 and standard deviation s^2.
  const double s2 = ring.stddev * ring.stddev;
  CHECK(std::abs(squares / 16000 - s2) < 4 * s2 / std::sqrt(8000.0));
}

TEST_CASE("points: the board is dark where its fields say, and nowhere else") {
  Rng rng(5, Purpose::test);
  const auto x = draw_points(PointSet::checkerboard, rng, 8000).to_vector<double>();
  const double half = checkerboard_half_side();
  std::array<int, 16> fields{};
  for (std::size_t i = 0; i < x.size(); i += 2) {
    const auto column = static_cast<int>(std::floor((x[i] + half) / (half / 2)));
    const auto row = static_cast<int>(std::floor((x[i + 1] + half) / (half / 2)));
    REQUIRE(column >= 0);
    REQUIRE(column < 4);
    REQUIRE(row >= 0);
    REQUIRE(row < 4);
    ++fields[static_cast<std::size_t>(4 * row + column)];
  }
  for (int row = 0; row < 4; ++row) {
    for (int column = 0; column < 4; ++column) {
      const int count = fields[static_cast<std::size_t>(4 * row + column)];
      if ((row + column) % 2 == 0) {
        CHECK(std::abs(count - 1000) < 4 * std::sqrt(1000.0 * 7 / 8));
      } else {
        CHECK(count == 0);
      }
    }
  }
}

TEST_CASE("points: roll and moons lie along their curves") {
  // The curves, moved and scaled to mean 0 and variance 1 by sums over many points.
  const auto standard = [](auto curve, int pieces, int piece) {
    double mx = 0, my = 0, second = 0;
    const int steps = 20'000;
    for (int p = 0; p < pieces; ++p) {
      for (int i = 0; i < steps; ++i) {
        const auto [x, y] = curve(p, (i + 0.5) / steps);
        mx += x / (steps * pieces);
        my += y / (steps * pieces);
        second += (x * x + y * y) / (steps * pieces);
      }
    }
    const double scale = std::sqrt(2 / (second - mx * mx - my * my));
    return [=](double u) {
      const auto [x, y] = curve(piece, u);
      return std::pair(scale * (x - mx), scale * (y - my));
    };
  };
  const auto spiral = [](int, double u) {
    const double r = M_PI * (1.5 + 3 * u);
    return std::pair(r * std::cos(r), r * std::sin(r));
  };
  const auto moon = [](int which, double u) {
    const double x = std::cos(M_PI * u), y = std::sin(M_PI * u);
    return which == 0 ? std::pair(x, y) : std::pair(1 - x, 0.5 - y);
  };
  const auto roll = standard(spiral, 1, 0);
  const auto upper = standard(moon, 2, 0), lower = standard(moon, 2, 1);
  Rng rng(6, Purpose::test);
  double farthest_roll = 0, farthest_moon = 0;
  const auto a = draw_points(PointSet::swiss_roll, rng, 400).to_vector<double>();
  const auto b = draw_points(PointSet::moons, rng, 400).to_vector<double>();
  for (std::size_t i = 0; i < a.size(); i += 2) {
    farthest_roll = std::max(farthest_roll, distance(a[i], a[i + 1], roll));
    const double up = distance(b[i], b[i + 1], upper), low = distance(b[i], b[i + 1], lower);
    farthest_moon = std::max(farthest_moon, std::min(up, low));
  }
  CHECK(farthest_roll < 5 * 0.06);
  CHECK(farthest_roll > 2 * 0.06);
  CHECK(farthest_moon < 5 * 0.08);
  CHECK(farthest_moon > 2 * 0.08);
}

TEST_CASE("points: names, and what is refused") {
  for (const PointSet set : point_sets) CHECK(enum_from_name<PointSet>(name_of(set)) == set);
  CHECK_THROWS_WITH_AS(enum_from_name<PointSet>("moon"),
                       "points: must be gaussians, swiss-roll, moons or checkerboard; got \"moon\"",
                       ValueError);
  Rng rng(7, Purpose::test);
  CHECK_THROWS_AS(draw_points(PointSet::moons, rng, 4, DType::bf16), DTypeError);
}
