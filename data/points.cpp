#include "data/points.h"

#include <cmath>
#include <numbers>

#include "tensor/error.h"

namespace ito::data {
namespace {

using Point = std::array<double, 2>;
constexpr double pi = std::numbers::pi;

// s of the header: what the normal noise around the skeleton is.
double stddev(PointSet set) {
  switch (set) {
    case PointSet::gaussians:
      return 0.1;
    case PointSet::swiss_roll:
      return 0.06;
    case PointSet::moons:
      return 0.08;
    case PointSet::checkerboard:
      break;
  }
  return 0.0;
}

// The skeletons c(u), u uniform in [0, 1)^2, each with mean 0 and E|c|^2 = 2.

Point ring_centre(int k) {
  const double angle = 2.0 * pi * k / 8.0;
  return {std::sqrt(2.0) * std::cos(angle), std::sqrt(2.0) * std::sin(angle)};
}

// (r cos r, r sin r) with r uniform in [a, b] = [3 pi / 2, 9 pi / 2]. The integrals of r cos r and
// r sin r are cos r + r sin r and sin r - r cos r; E r^2 = (a^2 + a b + b^2) / 3.
Point spiral(double u) {
  constexpr double a = 1.5 * pi, b = 4.5 * pi;
  const Point mean = {(b + a) / (b - a), 2.0 / (b - a)};
  const double scale =
      std::sqrt(2.0 / ((a * a + a * b + b * b) / 3.0 - mean[0] * mean[0] - mean[1] * mean[1]));
  const double r = a + (b - a) * u;
  return {scale * (r * std::cos(r) - mean[0]), scale * (r * std::sin(r) - mean[1])};
}

// Half circles around (0, 0), open below, and around (1, 1/2), open above. Both have the variances
// 1/2 and 1/2 - 4 / pi^2; their means are (0, 2 / pi) and (1, 1/2 - 2 / pi).
Point moon(double which, double u) {
  const double apart = 4.0 / pi - 0.5;  // of the means, in y
  const double second_moment = 0.5 + 0.25 + 0.5 - 4.0 / (pi * pi) + apart * apart / 4.0;
  const double scale = std::sqrt(2.0 / second_moment);
  const double x = std::cos(pi * u), y = std::sin(pi * u);
  return which < 0.5 ? Point{scale * (x - 0.5), scale * (y - 0.25)}
                     : Point{scale * (0.5 - x), scale * (0.25 - y)};
}

// u[0] chooses one of eight dark fields and, by its remainder, the place across it.
Point dark_field(double u, double v) {
  const double width = checkerboard_half_side() / 2.0;
  const double field = std::floor(8.0 * u);
  const double row = std::floor(field / 2.0);
  const double column = 2.0 * std::fmod(field, 2.0) + std::fmod(row, 2.0);
  return {width * (column + (8.0 * u - field) - 2.0), width * (row + v - 2.0)};
}

Point skeleton(PointSet set, double u, double v) {
  switch (set) {
    case PointSet::gaussians:
      return ring_centre(static_cast<int>(8.0 * u));
    case PointSet::swiss_roll:
      return spiral(u);
    case PointSet::moons:
      return moon(v, u);
    case PointSet::checkerboard:
      break;
  }
  return dark_field(u, v);
}

}  // namespace

Tensor draw_points(PointSet set, Rng& rng, std::int64_t n, DType dtype) {
  if (dtype != DType::f32 && dtype != DType::f64) {
    fail<DTypeError>("draw_points: points are f32 or f64; got {}", name_of(dtype));
  }
  const Tensor uniform = rand(rng, {n, 2}, DType::f64);
  const Tensor normal = randn(rng, {n, 2}, DType::f64);
  const double* u = uniform.data<double>();
  const double* z = normal.data<double>();
  const double s = stddev(set), shrink = std::sqrt(1.0 - s * s);
  std::vector<double> x(static_cast<std::size_t>(2 * n));
  for (std::size_t i = 0; i < x.size(); i += 2) {
    const Point c = skeleton(set, u[i], u[i + 1]);
    x[i] = shrink * c[0] + s * z[i];
    x[i + 1] = shrink * c[1] + s * z[i + 1];
  }
  if (dtype == DType::f64) return Tensor::from(x, {n, 2});
  return Tensor::from(std::vector<float>(x.begin(), x.end()), {n, 2});
}

RingOfGaussians ring_of_gaussians() {
  const double s = stddev(PointSet::gaussians), shrink = std::sqrt(1.0 - s * s);
  RingOfGaussians ring{{}, s};
  for (int k = 0; k < 8; ++k) {
    const Point c = ring_centre(k);
    ring.centres.push_back({shrink * c[0], shrink * c[1]});
  }
  return ring;
}

double checkerboard_half_side() { return std::sqrt(3.0); }

}  // namespace ito::data
