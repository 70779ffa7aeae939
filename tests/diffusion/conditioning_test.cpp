// How a network takes in what it is told: AdaGN, the features of t, the details of the image.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <numbers>

#include "autograd/ops/layout.h"
#include "diffusion/models/time_embedding.h"
#include "tests/diffusion/tiny_unet.h"

using namespace ito;
using test::gradient_errors;
using test::make_unet;
using test::max_difference;
using test::randomize;
using test::timesteps;
using test::tiny_config;

namespace {

UNetConfig with(const std::function<void(UNetConfig&)>& change) {
  UNetConfig c = tiny_config();
  change(c);
  return c;
}

UNet exact_unet(const UNetConfig& config) {
  UNet unet = make_unet(config);
  nn::to_dtype(unet, DType::f64);
  randomize(unet, 0.1);
  return unet;
}

}  // namespace

TEST_CASE("AdaGN: (1 + s) h + b, channel by channel") {
  Rng rng(1, Purpose::test);
  const Tensor h = randn(rng, {2, 3, 3, 4}, DType::f64), told = randn(rng, {2, 8}, DType::f64);
  const auto y = scale_and_shift(h, told).to_vector<double>();
  const auto x = h.to_vector<double>(), sb = told.to_vector<double>();
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::size_t n = i / 36, c = i % 4;
    CHECK(y[i] == doctest::Approx((1 + sb[8 * n + c]) * x[i] + sb[8 * n + 4 + c]).epsilon(1e-14));
  }
  CHECK_THROWS_AS(scale_and_shift(h, slice(told, 1, 0, 4)), ShapeError);
}

TEST_CASE("AdaGN: zero scale and shift is plain group normalisation, bit for bit") {
  Rng rng(1, Purpose::test), init(2, Purpose::init);
  const nn::GroupNorm norm(2, 4);
  const Tensor h = norm(randn(rng, {2, 3, 3, 4}));
  const auto plain = h.to_vector<float>();
  CHECK(scale_and_shift(h, Tensor::zeros({2, 8})).to_vector<float>() == plain);
  // The check sees the smallest scale that f32 can add to 1.
  CHECK(scale_and_shift(h, Tensor::full({2, 8}, 0x1p-23)).to_vector<float>() != plain);
}

TEST_CASE("AdaGN: gradients through scale and shift equal finite differences") {
  Rng rng(1, Purpose::test);
  const Tensor h = parameter(randn(rng, {2, 3, 3, 4}, DType::f64));
  const Tensor told = parameter(randn(rng, {2, 8}, DType::f64));
  const Tensor weight = randn(rng, {2, 3, 3, 4}, DType::f64);
  const auto loss = [&] { return sum(weight * scale_and_shift(h, told)); };
  for (const double error : gradient_errors(loss, {h, told})) CHECK(error < 1e-9);
}

TEST_CASE("unet with AdaGN: told nothing it is the network with addition") {
  UNetConfig adagn = with([](auto& c) { c.conditioning = EmbeddingMode::adagn; });
  UNet a = make_unet(adagn), b = make_unet(tiny_config());
  CHECK(nn::parameter_count(a) > nn::parameter_count(b));
  randomize(b, 0.1);
  auto from = nn::named_parameters(b);
  const auto to = nn::named_parameters(a);
  REQUIRE(from.size() == to.size());
  for (std::size_t i = 0; i < to.size(); ++i) {
    Tensor target = to[i].second;
    CHECK(from[i].first == to[i].first);
    const bool tells = to[i].first.find("time_emb_proj") != std::string::npos;
    if (tells) from[i].second.fill(0.0);
    if (tells) target.fill(0.0);
    if (!tells) target.assign(from[i].second);
  }
  Rng rng(4, Purpose::test);
  const Tensor x = randn(rng, {2, 6, 6, 2}), t = timesteps({3, 700});
  CHECK(max_difference(a(x, t), b(x, t)) < 1e-6);
  CHECK(max_difference(a(x, t), a(x, timesteps({5, 6}))) == 0.0);
  randomize(a, 0.1);
  CHECK(max_difference(a(x, t), a(x, timesteps({5, 6}))) > 1e-3);
}

TEST_CASE("unet: gradients equal finite differences with AdaGN, classes, features and details") {
  UNet unet = exact_unet(with([](auto& c) {
    c.conditioning = EmbeddingMode::adagn;
    c.num_classes = 2;
    c.time_features = TimeFeatures::fourier;
    c.fourier_features = {0, 1};
  }));
  Rng rng(4, Purpose::test);
  const Tensor x = parameter(randn(rng, {2, 6, 6, 2}, DType::f64));
  const Tensor t = Tensor::from(std::vector<double>{0.3, -1.7}, {2}), y = timesteps({1, 2});
  const Tensor weight = randn(rng, {2, 6, 6, 3}, DType::f64);
  std::vector<Tensor> inputs = nn::parameters(unet);
  inputs.push_back(x);
  const auto loss = [&] { return sum(weight * unet(x, t, {y})); };
  for (const double error : gradient_errors(loss, inputs)) CHECK(error < 1e-6);
}

TEST_CASE("sinusoidal_embedding: improved DDPM has cosines first, and slower frequencies") {
  const Tensor y = sinusoidal_embedding(timesteps({10, 999}), 128, DType::f64, Sinusoids::iddpm);
  const auto p = y.to_vector<double>();
  for (std::size_t n = 0; n < 2; ++n) {
    for (std::size_t i = 0; i < 64; ++i) {
      const double angle = (n == 0 ? 10 : 999) * std::exp(-std::log(10000.0) * double(i) / 64);
      CHECK(p[128 * n + i] == doctest::Approx(std::cos(angle)).epsilon(1e-10));
      CHECK(p[128 * n + 64 + i] == doctest::Approx(std::sin(angle)).epsilon(1e-10));
    }
  }
  // The two conventions are not each other's halves exchanged: the frequencies differ as well.
  const Tensor ddpm = sinusoidal_embedding(timesteps({10, 999}), 128, DType::f64);
  CHECK(max_difference(slice(ddpm, 1, 64, 128), slice(y, 1, 0, 64)) > 0.1);
}

TEST_CASE("sinusoidal_embedding: a continuous t between whole ones, and equal to them on them") {
  const Tensor whole = sinusoidal_embedding(timesteps({10, 999}), 64, DType::f64);
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Tensor t = cast(Tensor::from(std::vector<double>{10, 999, 10.5}, {3}), dtype);
    const Tensor y = sinusoidal_embedding(t, 64, DType::f64);
    CHECK(max_difference(slice(y, 0, 0, 2), whole) == 0.0);
    CHECK(y.to_vector<double>()[128] == doctest::Approx(std::sin(10.5)).epsilon(1e-15));
  }
  CHECK_THROWS_AS(sinusoidal_embedding(Tensor::zeros({1}, DType::u8), 64), DTypeError);
}

TEST_CASE("fourier_embedding: frequencies are normal with the given scale, and always the same") {
  // At small t: sin(2 pi w t) / (2 pi t) is w, and its mean square scale^2.
  const std::int64_t half = 4096;
  const double small = 1e-9;
  const Tensor t = Tensor::from(std::vector<double>{small, 0.37}, {2});
  const auto y = fourier_embedding(t, 2 * half).to_vector<double>();
  double squares = 0, mean = 0;
  for (std::size_t i = 0; i < half; ++i) {
    const double w = y[i] / (2 * std::numbers::pi * small);
    squares += w * w / double(half);
    mean += w / double(half);
    // The same frequency at another t, and in the cosine.
    const double angle = 2 * std::numbers::pi * w * 0.37;
    CHECK(y[2 * half + i] == doctest::Approx(std::sin(angle)).epsilon(1e-6));
    CHECK(y[3 * half + i] == doctest::Approx(std::cos(angle)).epsilon(1e-6));
  }
  const double n = double(half);
  CHECK(std::abs(mean) < 4 * 16 / std::sqrt(n));  // 4 standard errors
  CHECK(std::abs(squares - 256) < 4 * 256 * std::sqrt(2 / n));
  CHECK(fourier_embedding(t, 2 * half).to_vector<double>() == y);
  CHECK_THROWS_AS(fourier_embedding(timesteps({3}), 8), DTypeError);
  CHECK_THROWS_AS(fourier_embedding(t, 7), ValueError);
}

TEST_CASE("unet: its features of t are the configured ones") {
  Rng rng(4, Purpose::test);
  const Tensor x = randn(rng, {1, 6, 6, 2});
  const Tensor t = Tensor::from(std::vector<float>{0.25F}, {1});
  std::vector<Tensor> outputs;
  for (const auto features :
       {TimeFeatures::sin_cos, TimeFeatures::cos_sin, TimeFeatures::fourier}) {
    UNet unet = make_unet(with([&](auto& c) { c.time_features = features; }));
    randomize(unet, 0.1);
    outputs.push_back(unet(x, t));
  }
  CHECK(max_difference(outputs[0], outputs[1]) > 1e-3);
  CHECK(max_difference(outputs[0], outputs[2]) > 1e-3);
  const UNet fourier = make_unet(with([](auto& c) { c.time_features = TimeFeatures::fourier; }));
  CHECK_THROWS_AS(fourier(x, timesteps({3})), DTypeError);
}

TEST_CASE("with_fourier_features: x beside its sines and cosines at the frequencies asked for") {
  const Tensor x = Tensor::from(std::vector<double>{-1.0, 0.3, 1.0}, {3, 1});
  const Tensor y = with_fourier_features(x, {7, 8});
  CHECK(y.shape() == Shape{3, 5});
  const auto p = y.to_vector<double>();
  CHECK(p[5] == 0.3);
  CHECK(p[6] == doctest::Approx(std::sin(128 * std::numbers::pi * 0.3)).epsilon(1e-10));
  CHECK(p[7] == doctest::Approx(std::cos(128 * std::numbers::pi * 0.3)).epsilon(1e-10));
  CHECK(p[8] == doctest::Approx(std::sin(256 * std::numbers::pi * 0.3)).epsilon(1e-10));
  CHECK(p[9] == doctest::Approx(std::cos(256 * std::numbers::pi * 0.3)).epsilon(1e-10));
  CHECK(max_difference(with_fourier_features(x, {}), x) == 0.0);
  UNet unet = make_unet(with([](auto& c) { c.fourier_features = {7, 8}; }));
  CHECK(unet.conv_in.weight.shape() == Shape{4, 3, 3, 10});
}
