#include "tensor/kernels/math.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "tensor/kernels/simd.h"

using namespace ito;

namespace {

// |y - exact| in units in the last place of an f32 at `exact`.
double ulps(float y, double exact) {
  const int exponent = std::max(std::ilogb(exact), -126);
  return std::abs(static_cast<double>(y) - exact) / std::ldexp(1.0, exponent - 23);
}

constexpr float inf = std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("math::exp: within 2 ulp over all of f32, denormal results included") {
  double worst = 0.0;
  float at = 0.0f;
  // A prime step through the bit patterns visits every exponent with changing mantissas.
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 1009) {
    const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    if (!(std::abs(x) < 104.0f)) continue;
    const double exact = std::exp(static_cast<double>(x));
    if (exact > static_cast<double>(std::numeric_limits<float>::max())) continue;
    const double error = ulps(math::exp(x), exact);
    if (error > worst) {
      worst = error;
      at = x;
    }
  }
  // And densely where it matters: the range in which results are neither 1 nor 0.
  for (int i = -10400000; i <= 8872000; i += 7) {
    const float x = static_cast<float>(i) * 1e-5f;
    const double error = ulps(math::exp(x), std::exp(static_cast<double>(x)));
    if (error > worst) {
      worst = error;
      at = x;
    }
  }
  INFO("worst at ", at);
  CHECK(worst < 2.0);
}

TEST_CASE("math::exp: overflow, underflow, infinities and NaN") {
  CHECK(math::exp(88.72283f) < inf);
  CHECK(math::exp(88.72284f) == inf);
  CHECK(math::exp(1000.0f) == inf);
  CHECK(math::exp(inf) == inf);
  CHECK(math::exp(-103.9f) == std::exp(-103.9f));  // the smallest denormal
  CHECK(math::exp(-104.1f) == 0.0f);
  CHECK(math::exp(-1000.0f) == 0.0f);
  CHECK(math::exp(-inf) == 0.0f);
  CHECK(math::exp(0.0f) == 1.0f);
  CHECK(math::exp(-0.0f) == 1.0f);
  CHECK(math::exp(std::numeric_limits<float>::denorm_min()) == 1.0f);
  CHECK(std::isnan(math::exp(std::nanf(""))));
}

TEST_CASE("math::exp: never decreases from one float to the next but for its rounding") {
  float before = 0.0f;
  for (float x = -20.0f; x < 20.0f; x += 1e-4f) {
    const float y = math::exp(x);
    CHECK_MESSAGE(y >= before, x);
    before = y;
  }
}

TEST_CASE("math::sigmoid: right at both ends, without NaN") {
  CHECK(math::sigmoid(0.0f) == 0.5f);
  CHECK(math::sigmoid(200.0f) == 1.0f);
  CHECK(math::sigmoid(-200.0f) == 0.0f);
  CHECK(math::sigmoid(inf) == 1.0f);
  CHECK(math::sigmoid(-inf) == 0.0f);
  CHECK(std::isnan(math::sigmoid(std::nanf(""))));
  for (float x = -80.0f; x <= 80.0f; x += 0.37f) {
    const double exact = 1.0 / (1.0 + std::exp(-static_cast<double>(x)));
    CHECK(math::sigmoid(x) == doctest::Approx(exact).epsilon(4e-7));
  }
}

TEST_CASE("simd::sigmoid: within 4 ulp where it is more than 2^-126, whatever the size of x") {
  double worst = 0.0;
  for (std::int64_t i = -8700000; i <= 12000000; i += 16) {
    float x[simd::lanes<float>], y[simd::lanes<float>];
    for (int l = 0; l < simd::lanes<float>; ++l) {
      x[l] = static_cast<float>(i + l % 16) * 1e-5f;
    }
    simd::vector_of<float> v;
    simd::load(v, x);
    simd::store(y, simd::sigmoid(v));
    for (int l = 0; l < simd::lanes<float>; ++l) {
      worst = std::max(worst, ulps(y[l], 1.0 / (1.0 + std::exp(-static_cast<double>(x[l])))));
    }
  }
  CHECK(worst < 4.0);
}

TEST_CASE("simd::sigmoid: far from 0, at infinities, and x sigmoid(x) of NaN") {
  const auto at = [](float x) {
    const simd::vector_of<float> y = simd::sigmoid(simd::vector_of<float>{} + x);
    return y[0];
  };
  CHECK(at(1000.0f) == 1.0f);
  CHECK(at(inf) == 1.0f);
  CHECK(at(-1000.0f) < 2e-38f);
  CHECK(at(-inf) < 2e-38f);
  CHECK(at(0.0f) == 0.5f);
  CHECK(at(-0.0f) == 0.5f);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(nan * at(nan)));
  CHECK(std::isnan(-nan * at(-nan)));
}
