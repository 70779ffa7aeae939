#include "diffusion/models/unet.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <functional>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "diffusion/models/time_embedding.h"
#include "diffusion/sampling/samplers.h"
#include "nn/init.h"
#include "nn/module.h"
#include "tests/diffusion/tiny_unet.h"
#include "tests/oracles/chain.h"

using namespace ito;
using test::Chain;
using test::gradient_errors;
using test::make_unet;
using test::max_difference;
using test::randomize;
using test::timesteps;
using test::tiny_config;

TEST_CASE("unet: parameter counts are those of the published networks") {
  const auto count = [](UNetConfig c) {
    UNet unet = make_unet(c);
    return nn::parameter_count(unet);
  };
  UNetConfig c = UNetConfig::mnist();
  CHECK(count(c) == 1'623'169);
  c.base_channels = 64;
  CHECK(count(c) == 6'469'889);
  c = UNetConfig::cifar10();
  CHECK(count(c) == 35'746'307);
  c.out_channels = 6;  // with a learned variance
  CHECK(count(c) == 35'749'766);
  c.out_channels = 3;
  c.base_channels = 64;
  CHECK(count(c) == 8'952'067);
}

TEST_CASE("unet: the tensors of the CIFAR-10 network are those of ddpm-cifar10-32, in its order") {
  UNet unet = make_unet(UNetConfig::cifar10());
  const auto parameters = nn::named_parameters(unet);
  std::ifstream golden(ITO_FIXTURES "/ddpm_cifar10_tensors.txt");
  REQUIRE(golden);
  std::size_t i = 0;
  for (std::string line; std::getline(golden, line);) {
    if (line.starts_with("#")) continue;
    REQUIRE(i < parameters.size());
    const Shape& s = parameters[i].second.shape();
    const Shape published = s.rank() == 4 ? Shape{s[0], s[3], s[1], s[2]} : s;
    CHECK(parameters[i].first + " " + published.str() == line);
    ++i;
  }
  CHECK(i == 328);
  CHECK(parameters.size() == 328);
}

TEST_CASE("unet: initial weights are one draw each, in the order of the names") {
  UNet unet = make_unet(tiny_config(), 7);
  Rng init(7, Purpose::init);
  for (const nn::NamedTensor& entry : nn::named_parameters(unet)) {
    const auto& name = entry.first;
    const Tensor& p = entry.second;
    if (p.rank() == 1) {
      const bool scale = name.find("norm") != std::string::npos && name.ends_with("weight");
      CHECK_MESSAGE(max_difference(p, Tensor::full(p.shape(), scale ? 1.0 : 0.0)) == 0.0, name);
      continue;
    }
    const bool zero = name.find("conv2") != std::string::npos ||
                      name.find("to_out") != std::string::npos || name == "conv_out.weight";
    const Tensor drawn = nn::init::variance_scaling(init, p.shape(), zero ? 0.0 : 1.0);
    CHECK_MESSAGE(max_difference(p, drawn) == 0.0, name);
  }
}

TEST_CASE("unet: a fresh network predicts exactly 0") {
  const UNet unet = make_unet(UNetConfig::mnist());
  Rng rng(3, Purpose::test);
  const Tensor y = unet(randn(rng, {2, 28, 28, 1}), timesteps({0, 999}));
  CHECK(y.shape() == Shape{2, 28, 28, 1});
  CHECK(max(abs(y)).item() == 0.0);
}

TEST_CASE("unet: gradients equal finite differences in f64") {
  UNet unet = make_unet(tiny_config());
  nn::to_dtype(unet, DType::f64);
  randomize(unet, 0.1);
  Rng rng(4, Purpose::test);
  const Tensor x = parameter(randn(rng, {2, 6, 6, 2}, DType::f64));
  const Tensor t = timesteps({3, 700});
  const Tensor weight = randn(rng, {2, 6, 6, 3}, DType::f64);
  const auto loss = [&] { return sum(weight * unet(x, t)); };

  auto parameters = nn::named_parameters(unet);
  parameters.emplace_back("x", x);
  std::vector<Tensor> inputs;
  for (const auto& [name, p] : parameters) inputs.push_back(p);
  const std::vector<double> errors = gradient_errors(loss, inputs);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    CHECK_MESSAGE(errors[i] <= 1e-6, parameters[i].first, ": ", errors[i]);
  }
}

TEST_CASE("unet: every parameter receives a gradient") {
  UNet unet = make_unet(tiny_config());
  nn::to_dtype(unet, DType::f64);
  randomize(unet, 0.1);
  Rng rng(4, Purpose::test);
  backward(mean(square(unet(randn(rng, {1, 6, 6, 2}, DType::f64), timesteps({500})) - 1.0)));
  for (const nn::NamedTensor& entry : nn::named_parameters(unet)) {
    const auto& name = entry.first;
    const Tensor& p = entry.second;
    REQUIRE_MESSAGE(p.grad().defined(), name);
    // A bias of the keys adds the same to a whole row of scores, which softmax ignores.
    const bool none = name.ends_with("to_k.bias");
    CHECK_MESSAGE((max(abs(p.grad())).item() > 1e-6) != none, name);
  }
}

TEST_CASE("unet: an image's output does not depend on the others in its batch") {
  UNet unet = make_unet(tiny_config());
  nn::to_dtype(unet, DType::f64);
  randomize(unet, 0.1);
  Rng rng(4, Purpose::test);
  const Tensor x = randn(rng, {5, 6, 6, 2}, DType::f64);
  const std::vector<std::int64_t> t = {0, 10, 100, 500, 999};
  const Tensor together = unet(x, timesteps(t));
  for (std::int64_t i = 0; i < 5; ++i) {
    const Tensor alone = unet(slice(x, 0, i, i + 1), timesteps({t[static_cast<std::size_t>(i)]}));
    CHECK(max_difference(alone, slice(together, 0, i, i + 1)) < 1e-12);
  }
}

TEST_CASE("unet: the output depends on t") {
  UNet unet = make_unet(tiny_config());
  randomize(unet, 0.1);
  Rng rng(4, Purpose::test);
  const Tensor x = randn(rng, {1, 6, 6, 2});
  CHECK(max_difference(unet(x, timesteps({1})), unet(x, timesteps({2}))) > 1e-4);
}

TEST_CASE("unet: dropout needs a generator, follows its state, and keeps the mean") {
  UNetConfig config = tiny_config();
  config.dropout = 0.3;
  UNet unet = make_unet(config);
  UNet without = make_unet(tiny_config());
  randomize(unet, 0.1);
  randomize(without, 0.1);
  Rng rng(4, Purpose::test);
  const Tensor x = randn(rng, {2, 6, 6, 2});
  const Tensor t = timesteps({1, 2});
  CHECK(max_difference(unet(x, t), without(x, t)) == 0.0);

  Rng a(9, Purpose::dropout), b(9, Purpose::dropout);
  const Tensor first = unet(x, t, {}, &a);
  CHECK(max_difference(first, unet(x, t)) > 1e-3);
  CHECK(max_difference(first, unet(x, t, {}, &b)) == 0.0);
  CHECK(max_difference(first, unet(x, t, {}, &b)) > 1e-3);  // later draws of the same step
  b.seek(0);
  CHECK(max_difference(first, unet(x, t, {}, &b)) == 0.0);

  Rng c(9, Purpose::dropout);
  CHECK(max_difference(without(x, t, {}, &c), without(x, t)) == 0.0);  // p = 0
}

TEST_CASE("unet: levels of odd size, one level, and many blocks work") {
  Rng rng(4, Purpose::test);
  UNetConfig c = tiny_config();
  c.image_size = 20;  // 20, 10, 5
  c.channel_multipliers = {1, 1, 3};
  c.blocks_per_level = 3;
  c.attention_resolutions = {5};
  CHECK(make_unet(c)(randn(rng, {1, 20, 20, 2}), timesteps({5})).shape() == Shape{1, 20, 20, 3});
  c = tiny_config();
  c.image_size = 5;
  c.channel_multipliers = {2};
  c.attention_resolutions = {};
  CHECK(make_unet(c)(randn(rng, {1, 5, 5, 2}), timesteps({5})).shape() == Shape{1, 5, 5, 3});
  c.image_size = 1;
  CHECK(make_unet(c)(randn(rng, {3, 1, 1, 2}), timesteps({1, 2, 3})).shape() == Shape{3, 1, 1, 3});
}

TEST_CASE("unet: is a denoiser, by reference too") {
  UNetConfig config = tiny_config();
  config.out_channels = config.in_channels;
  UNet unet = make_unet(config);
  randomize(unet, 0.1);
  const Chain process{NoiseSchedule::linear()};
  Rng rng(4, Purpose::sample);
  const Tensor x_T = randn(rng, {3, 6, 6, 2});
  const Tensor a = sample_ddim(process.denoiser(std::cref(unet)), x_T, process.walk(4), rng);
  const Tensor b = sample_ddim(process.denoiser(unet), x_T, process.walk(4), rng);
  CHECK(max_difference(a, b) == 0.0);
  CHECK(max_difference(a, x_T) > 1e-2);
  const Tensor t = timesteps({1, 2, 3});
  CHECK_THROWS_AS(process.loss(make_unet(tiny_config()), x_T, t, x_T), ShapeError);
}

TEST_CASE("unet: wrong inputs are refused") {
  const UNet unet = make_unet(tiny_config());
  Rng rng(4, Purpose::test);
  CHECK_THROWS_AS(unet(randn(rng, {1, 8, 8, 2}), timesteps({1})), ShapeError);
  CHECK_THROWS_AS(unet(randn(rng, {1, 6, 6, 1}), timesteps({1})), ShapeError);
  CHECK_THROWS_AS(unet(randn(rng, {6, 6, 2}), timesteps({1})), ShapeError);
  CHECK_THROWS_AS(unet(randn(rng, {1, 6, 6, 2}), timesteps({1, 2})), ShapeError);
  CHECK_THROWS_AS(unet(randn(rng, {1, 6, 6, 2}), Tensor::zeros({1}, DType::u8)), DTypeError);
  CHECK_THROWS_AS(unet(randn(rng, {1, 6, 6, 2}, DType::f64), timesteps({1})), DTypeError);
  CHECK_THROWS_AS(unet(Tensor{}, timesteps({1})), Error);
}

TEST_CASE("sinusoidal_embedding: values of DDPM for 128 channels") {
  const Tensor y = sinusoidal_embedding(timesteps({10, 999, 0}), 128, DType::f64);
  const double* p = y.data<double>();
  CHECK(p[0] == doctest::Approx(-0.544021).epsilon(1e-6));
  CHECK(p[1] == doctest::Approx(0.70675).epsilon(1e-5));
  CHECK(p[2] == doctest::Approx(0.925205).epsilon(1e-6));
  CHECK(p[63] == doctest::Approx(0.001).epsilon(1e-6));
  CHECK(p[128] == doctest::Approx(-0.026461).epsilon(1e-4));
  CHECK(p[128 + 63] == doctest::Approx(0.0997339).epsilon(1e-6));
  for (int i = 0; i < 64; ++i) {
    CHECK(p[i] * p[i] + p[64 + i] * p[64 + i] == doctest::Approx(1.0).epsilon(1e-12));
    CHECK(p[256 + i] == 0.0);
    CHECK(p[256 + 64 + i] == 1.0);
  }
  const Tensor single = sinusoidal_embedding(timesteps({10, 999, 0}), 128);
  CHECK(max_difference(cast(single, DType::f64), y) < 1e-7);
}
