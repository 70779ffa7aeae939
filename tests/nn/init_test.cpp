#include "nn/init.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "autograd/engine.h"
#include "nn/layers.h"

using namespace ito;

namespace {

struct Moments {
  double mean = 0, variance = 0, largest = 0;
};

Moments moments(const Tensor& t) {
  Moments m;
  const auto values = t.to_vector<float>();
  for (const float v : values) {
    m.mean += v / static_cast<double>(values.size());
    m.largest = std::max(m.largest, std::abs(static_cast<double>(v)));
  }
  for (const float v : values) {
    m.variance += (v - m.mean) * (v - m.mean) / static_cast<double>(values.size());
  }
  return m;
}

}  // namespace

TEST_CASE("variance_scaling: variance is scale / fan_avg and the bound sqrt(3 scale / fan_avg)") {
  struct Case {
    Shape shape;
    double fan_avg, scale;
  };
  for (const Case& c : {Case{{300, 200}, 250, 1.0}, Case{{64, 3, 3, 128}, 9 * 96, 1.0},
                        Case{{200, 300}, 250, 1e-10}, Case{{128, 1, 1, 64}, 96, 0.5}}) {
    Rng rng(5, Purpose::init);
    const Tensor w = nn::init::variance_scaling(rng, c.shape, c.scale);
    const Moments m = moments(w);
    const double variance = c.scale / c.fan_avg, bound = std::sqrt(3 * variance);
    const double n = static_cast<double>(w.numel());
    // Five standard errors; a uniform's fourth moment is 9/5 of its variance squared.
    CHECK(std::abs(m.mean) < 5 * std::sqrt(variance / n));
    CHECK(std::abs(m.variance / variance - 1) < 5 * std::sqrt(0.8 / n));
    CHECK(m.largest <= bound * (1 + 1e-6));
    CHECK(m.largest > bound * (1 - 20 / n));
    CHECK(requires_grad(w));
  }
}

TEST_CASE("variance_scaling: scale 0 gives true zeros and takes a draw all the same") {
  Rng a(5, Purpose::init), b(5, Purpose::init);
  CHECK(moments(nn::init::variance_scaling(a, {8, 8}, 0.0)).largest == 0.0);
  nn::init::variance_scaling(b, {8, 8}, 1.0);
  CHECK(nn::init::normal(a, {16}).to_vector<float>() ==
        nn::init::normal(b, {16}).to_vector<float>());
}

TEST_CASE("variance_scaling: refuses other ranks and negative scales") {
  Rng rng(5, Purpose::init);
  CHECK_THROWS_WITH_AS(nn::init::variance_scaling(rng, {8}),
                       "variance_scaling: a weight is [out, in] or [O, kh, kw, I]; got [8]",
                       ShapeError);
  CHECK_THROWS_AS(nn::init::variance_scaling(rng, {8, 8}, -1.0), ValueError);
  CHECK_THROWS_AS(nn::init::variance_scaling(rng, {8, 8}, NAN), ValueError);
}

TEST_CASE("normal: mean 0 and the standard deviation asked for") {
  Rng rng(5, Purpose::init);
  const Moments m = moments(nn::init::normal(rng, {200, 300}, 0.02));
  const double n = 60000;
  CHECK(std::abs(m.mean) < 5 * 0.02 / std::sqrt(n));
  CHECK(std::abs(m.variance / (0.02 * 0.02) - 1) < 5 * std::sqrt(2 / n));
}

TEST_CASE("initialisers: equal seeds give equal parameters, other seeds others") {
  const auto weights = [](std::uint64_t seed) {
    Rng rng(seed, Purpose::init);
    return nn::Linear(5, 7, rng).weight.to_vector<float>();
  };
  CHECK(weights(1) == weights(1));
  CHECK(weights(1) != weights(2));
}
