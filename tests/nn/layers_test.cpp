#include "nn/layers.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace ito;

namespace {
Rng seeded() { return Rng(1, Purpose::init); }
}  // namespace

TEST_CASE("Linear: y = x weight^T + bias on the last axis") {
  Rng init = seeded();
  nn::Linear layer(2, 3, init);
  layer.weight.assign(Tensor::from<float>({1, 2, 3, 4, 5, 6}, {3, 2}));
  layer.bias.assign(Tensor::from<float>({10, 20, 30}, {3}));
  const Tensor y = layer(Tensor::from<float>({1, 1, 2, -1}, {2, 1, 2}));
  CHECK(y.shape() == Shape{2, 1, 3});
  CHECK(y.to_vector<float>() == std::vector<float>{13, 27, 41, 10, 22, 34});
}

TEST_CASE(
    "Conv2d: keeps the size with padding 1, halves it with stride 2; zero scale gives zeros") {
  Rng init = seeded();
  const Tensor x = Tensor::full({1, 6, 6, 2}, 1.0);
  CHECK(nn::Conv2d(2, 5, 3, {.padding = 1}, init)(x).shape() == Shape{1, 6, 6, 5});
  CHECK(
      nn::Conv2d(2, 5, 3, {.stride = 2, .padding = Padding::below_and_right(1)}, init)(x).shape() ==
      Shape{1, 3, 3, 5});
  for (const float v : nn::Conv2d(2, 5, 1, {}, init, 0.0)(x).to_vector<float>()) CHECK(v == 0.0f);
}

TEST_CASE("GroupNorm: each group has mean 0 and variance 1, and silu is silu of it") {
  const nn::GroupNorm norm(2, 4);
  Rng rng(3, Purpose::test);
  const Tensor y = norm(randn(rng, {1, 5, 5, 4}));
  const auto values = y.to_vector<float>();
  for (int g = 0; g < 2; ++g) {
    double mean = 0, square = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (static_cast<int>(i % 4) / 2 != g) continue;
      mean += values[i] / 50.0;
      square += values[i] * values[i] / 50.0;
    }
    CHECK(std::abs(mean) < 1e-6);
    CHECK(std::abs(square - 1) < 1e-5);
  }
  Rng again(3, Purpose::test);
  const auto fused = norm.silu(randn(again, {1, 5, 5, 4})).to_vector<float>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK(fused[i] == doctest::Approx(values[i] / (1 + std::exp(-values[i]))).epsilon(1e-5));
  }
}

TEST_CASE("Embedding: takes the rows of its table") {
  Rng init = seeded();
  const nn::Embedding table(4, 3, init);
  const auto rows = table.weight.to_vector<float>();
  const auto y = table(Tensor::from<std::int64_t>({2, 0}, {2})).to_vector<float>();
  CHECK(y == std::vector<float>{rows[6], rows[7], rows[8], rows[0], rows[1], rows[2]});
}

TEST_CASE("layers: sizes below 1 and groups that do not divide are refused") {
  Rng init = seeded();
  CHECK_THROWS_WITH_AS(nn::Linear(0, 3, init), "Linear: in must be at least 1; got 0", ValueError);
  CHECK_THROWS_AS(nn::Conv2d(1, 3, 0, {}, init), ValueError);
  CHECK_THROWS_WITH_AS(nn::GroupNorm(32, 48),
                       "GroupNorm: groups must divide channels; got groups = 32, channels = 48",
                       ValueError);
}
