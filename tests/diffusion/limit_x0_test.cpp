// Limits of the estimate of x_0 against their definitions.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/quantile.h"
#include "autograd/ops/reduce.h"
#include "diffusion/denoiser/thresholding.h"
#include "tensor/error.h"
#include "tensor/rng.h"
#include "tests/compare.h"

using namespace ito;
using test::same_bits;

namespace {

Tensor images(double scale, DType dtype = DType::f64) {
  Rng rng(4, Purpose::test);
  return scale * randn(rng, {6, 5, 7, 3}, dtype);
}

// One sample by the definition, in plain loops.
std::vector<double> threshold_of(const std::vector<double>& x0, double quantile_at, double most) {
  std::vector<double> sizes;
  for (const double v : x0) sizes.push_back(std::abs(v));
  std::sort(sizes.begin(), sizes.end());
  const double position = quantile_at * static_cast<double>(sizes.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const double above = sizes[std::min(below + 1, sizes.size() - 1)];
  const double q = sizes[below] + (position - std::floor(position)) * (above - sizes[below]);
  const double s = std::min(std::max(q, 1.0), most);
  std::vector<double> y;
  for (const double v : x0) y.push_back(std::clamp(v, -s, s) / s);
  return y;
}

double distance_from_definition(const Thresholding& limit, const Tensor& x0, double q,
                                double most) {
  double worst = 0.0;
  const Tensor y = limit(x0);
  for (std::int64_t i = 0; i < x0.size(0); ++i) {
    const auto got = slice(y, 0, i, i + 1).to_vector<double>();
    const auto wanted = threshold_of(slice(x0, 0, i, i + 1).to_vector<double>(), q, most);
    for (std::size_t j = 0; j < got.size(); ++j)
      worst = std::max(worst, std::abs(got[j] - wanted[j]));
  }
  return worst;
}

}  // namespace

TEST_CASE("dynamic threshold: is its definition, sample by sample") {
  constexpr double no_bound = std::numeric_limits<double>::infinity();
  const Tensor x0 = images(3.0);
  for (const double q : {0.0, 0.5, 0.9, 0.995, 1.0}) {
    for (const double most : {1.0, 2.0, no_bound}) {
      CAPTURE(q);
      CAPTURE(most);
      CHECK(distance_from_definition(dynamic_threshold(q, most), x0, q, most) < 1e-14);
    }
  }
  // Not one threshold for the whole batch, nor the nearest element instead of a position between
  // two.
  const Thresholding of_batch = [](const Tensor& x) {
    return reshape(dynamic_threshold(0.9)(reshape(x, Shape{1, x.numel()})), x.shape());
  };
  CHECK(distance_from_definition(of_batch, x0, 0.9, no_bound) > 1e-3);
  const Thresholding nearest = [](const Tensor& x) {
    return dynamic_threshold(std::round(0.9 * 104.0) / 104.0)(x);
  };
  CHECK(distance_from_definition(nearest, x0, 0.9, no_bound) > 1e-3);
}

TEST_CASE("dynamic threshold: inside the range of images it is clip_x0, to the bit") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Tensor small = images(0.5, dtype);  // a few elements beyond 1, their quantile below
    REQUIRE(max(abs(small)).item() > 1.0);
    REQUIRE(max(quantile(reshape(abs(small), Shape{6, 105}), 0.9)).item() < 1.0);
    CHECK(same_bits(dynamic_threshold(0.9)(small), clip_x0(small)));
    const Tensor large = images(3.0, dtype);
    CHECK(same_bits(dynamic_threshold(0.9, 1.0)(large), clip_x0(large)));
    CHECK_FALSE(same_bits(dynamic_threshold(0.9)(large), clip_x0(large)));
  }
}

TEST_CASE("dynamic threshold: stays in [-1, 1], and the samples of a batch do not see each other") {
  const Tensor x0 = images(5.0, DType::f32);
  const Thresholding limit = dynamic_threshold();
  const Tensor y = limit(x0);
  CHECK(max(abs(y)).item() <= 1.0);
  CHECK(same_bits(slice(y, 0, 2, 4).clone(), limit(slice(x0, 0, 2, 4))));
}

TEST_CASE("dynamic threshold: options outside their range are refused") {
  CHECK_THROWS_AS(dynamic_threshold(1.5), ValueError);
  CHECK_THROWS_AS(dynamic_threshold(-0.1), ValueError);
  CHECK_THROWS_AS(dynamic_threshold(0.9, 0.5), ValueError);
  CHECK_THROWS_AS(dynamic_threshold(std::nan("")), ValueError);
}
