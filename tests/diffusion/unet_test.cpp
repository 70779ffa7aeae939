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
#include "diffusion/samplers.h"
#include "nn/init.h"
#include "nn/module.h"
#include "tensor/graph.h"
#include "tests/devices.h"

using namespace ito;

namespace {

UNet make_unet(const UNetConfig& config, std::uint64_t seed = 1) {
  Rng init(seed, Purpose::init);
  return UNet(config, init);
}

// Small enough for finite differences, with every kind of block in it.
UNetConfig tiny_config() {
  UNetConfig c;
  c.image_size = 6;
  c.in_channels = 2;
  c.out_channels = 3;
  c.base_channels = 4;
  c.channel_multipliers = {1, 2};
  c.blocks_per_level = 1;
  c.attention_resolutions = {3};
  c.heads = 2;
  c.norm_groups = 2;
  return c;
}

// Adds noise to every parameter, so that nothing is hidden by a zero.
void randomize(UNet& unet, double scale) {
  Rng rng(5, Purpose::test);
  nn::for_each_parameter(unet, [&](const std::string&, Tensor& p) {
    p = parameter(detach(p) + scale * randn(rng, p.shape(), p.dtype()));
  });
}

Tensor timesteps(const std::vector<std::int64_t>& t) {
  return Tensor::from(t, {static_cast<std::int64_t>(t.size())});
}

double max_difference(const Tensor& a, const Tensor& b) { return max(abs(a - b)).item(); }

}  // namespace

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
  const std::vector<Tensor> gradients = grad(loss(), inputs);

  // The derivative along one random direction per tensor: one comparison sees all its elements.
  const double h = 1e-5;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    Tensor p = inputs[i];
    const NoGrad no_grad;
    const Tensor direction = randn(rng, p.shape(), DType::f64);
    const Tensor start = p.clone();
    p.assign(start + h * direction);
    const double above = loss().item();
    p.assign(start - h * direction);
    const double below = loss().item();
    p.assign(start);
    const double wanted = (above - below) / (2 * h);
    const double got = sum(gradients[i] * direction).item();
    CHECK_MESSAGE(std::abs(got - wanted) <= 1e-6 * (1.0 + std::abs(wanted)), parameters[i].first,
                  ": ", got, " against ", wanted);
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
  const Tensor first = unet(x, t, &a);
  CHECK(max_difference(first, unet(x, t)) > 1e-3);
  CHECK(max_difference(first, unet(x, t, &b)) == 0.0);
  CHECK(max_difference(first, unet(x, t, &b)) > 1e-3);  // later draws of the same step
  b.seek(0);
  CHECK(max_difference(first, unet(x, t, &b)) == 0.0);

  Rng c(9, Purpose::dropout);
  CHECK(max_difference(without(x, t, &c), without(x, t)) == 0.0);  // p = 0
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
  const GaussianDiffusion process{NoiseSchedule::linear()};
  Rng rng(4, Purpose::sample);
  const Tensor x_T = randn(rng, {3, 6, 6, 2});
  const Tensor a = sample_ddim(process, std::cref(unet), x_T, rng, {.steps = 4});
  const Tensor b = sample_ddim(process, unet, x_T, rng, {.steps = 4});
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
  CHECK_THROWS_AS(unet(randn(rng, {1, 6, 6, 2}), Tensor::zeros({1})), DTypeError);
  CHECK_THROWS_AS(unet(randn(rng, {1, 6, 6, 2}, DType::f64), timesteps({1})), DTypeError);
  CHECK_THROWS_AS(unet(Tensor{}, timesteps({1})), Error);
}

namespace {

// A network of every kind of block with parameters that are not 0, and what it is fed.
struct OnDevice {
  UNet unet;
  std::vector<Tensor> parameters;
  Tensor x, t, weight;

  OnDevice(Device device, DType dtype) : unet(make_unet(tiny_config())) {
    randomize(unet, 0.1);
    nn::for_each_parameter(unet, [&](const std::string&, Tensor& p) {
      p = parameter(convert(detach(p), dtype).to(device));
      parameters.push_back(p);
    });
    const DType outside = dtype == DType::bf16 ? DType::f32 : dtype;
    Rng rng(4, Purpose::test);
    x = convert(randn(rng, {2, 6, 6, 2}), outside).to(device);
    weight = convert(randn(rng, {2, 6, 6, 3}), outside).to(device);
    t = timesteps({3, 700}).to(device);
  }
  Tensor output() const { return unet(x, t); }
  /// Of a loss that sees every output with another weight.
  std::vector<Tensor> gradients() const { return grad(sum(weight * output()), parameters); }
};

// ||got - wanted|| / ||wanted|| of tensors on any device.
double relative_error(const Tensor& got, const Tensor& wanted) {
  const auto f64 = [](const Tensor& x) { return convert(x.to(Device::cpu()), DType::f64); };
  return std::sqrt(sum(square(f64(got) - f64(wanted))).item() / sum(square(f64(wanted))).item());
}

// The same over all tensors of a list together.
double relative_error(const std::vector<Tensor>& got, const std::vector<Tensor>& wanted) {
  std::vector<Tensor> a, b;
  for (std::size_t i = 0; i < got.size(); ++i) {
    a.push_back(reshape(got[i].to(Device::cpu()), Shape{got[i].numel()}));
    b.push_back(reshape(wanted[i].to(Device::cpu()), Shape{wanted[i].numel()}));
  }
  return relative_error(concat(a), concat(b));
}

}  // namespace

TEST_CASE("unet on the device: output and gradients in f32 are those of f64 on the CPU") {
  if (!testing::device_answers()) return;
  const OnDevice exact(Device::cpu(), DType::f64), device(Device::cuda(), DType::f32),
      cpu(Device::cpu(), DType::f32);
  CHECK(device.output().device() == Device::cuda());
  // The CPU's own f32 says what rounding costs here; the device sums in another order.
  const double output = relative_error(cpu.output(), exact.output());
  const double gradient = relative_error(cpu.gradients(), exact.gradients());
  const double output_on_device = relative_error(device.output(), exact.output());
  const double gradient_on_device = relative_error(device.gradients(), exact.gradients());
  MESSAGE("relative error in f32: output ", output, " on the CPU, ", output_on_device,
          " on the device; gradients ", gradient, ", ", gradient_on_device);
  CHECK(output_on_device < 1e-6);
  CHECK(gradient_on_device < 2e-6);
}

TEST_CASE("unet on the device: in bf16 it takes and returns f32, and errs as its rounding allows") {
  if (!testing::device_answers()) return;
  const OnDevice exact(Device::cpu(), DType::f64), rounded(Device::cuda(), DType::bf16);
  const Tensor y = rounded.output();
  CHECK(y.dtype() == DType::f32);
  const auto gradients = rounded.gradients();
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    CHECK(gradients[i].dtype() == DType::bf16);
    CHECK(gradients[i].device() == Device::cuda());
  }
  // Each of the about 40 results on the longest path is rounded to 8 bits, a relative error of at
  // most 2^-9 and independent of the others: sqrt(40) 2^-9 = 1.2 %, twice that on the way there and
  // back. Norms and residuals keep errors from growing. With 16 channels in a group at most little
  // averages out, so a factor of two is allowed.
  const double output = relative_error(y, exact.output());
  const double gradient = relative_error(gradients, exact.gradients());
  MESSAGE("relative error in bf16: output ", output, ", gradients ", gradient);
  CHECK(output < 0.025);
  CHECK(gradient < 0.05);
  CHECK(output > 1e-4);  // it was bf16
}

TEST_CASE("unet on the device: a forward pass reads nothing back, and may be recorded") {
  if (!testing::device_answers()) return;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    OnDevice net(Device::cuda(), dtype);
    const NoGrad no_grad;
    Tensor y;
    Graph graph(Device::cuda(), [&] { y = net.output(); });
    graph.run();
    graph.run();
    CHECK(relative_error(y, net.output()) == 0.0);
    net.t.assign(timesteps({900, 2}).to(Device::cuda()));
    graph.run();
    CHECK(relative_error(y, net.output()) == 0.0);
  }
}

TEST_CASE("unet on the device: dropout has the CPU's mask, and another at every step of a graph") {
  if (!testing::device_answers()) return;
  UNetConfig config = tiny_config();
  config.dropout = 0.3;
  UNet here = make_unet(config), there = make_unet(config);
  for (UNet* unet : {&here, &there}) randomize(*unet, 0.1);
  nn::for_each_parameter(there, [](const std::string&, Tensor& p) { p = p.to(Device::cuda()); });
  Rng rng(4, Purpose::test), dropout(9, Purpose::dropout);
  const Tensor x = randn(rng, {2, 6, 6, 2}), t = timesteps({1, 2});
  const Tensor x_there = x.to(Device::cuda()), t_there = t.to(Device::cuda());
  Tensor step = Tensor::zeros({1}, DType::i64, Device::cuda()), y;
  Rng bound(9, Purpose::dropout);
  bound.bind(step);
  const NoGrad no_grad;
  Graph graph(Device::cuda(), [&] {
    bound.seek(0);
    y = there(x_there, t_there, &bound);
  });
  for (std::uint64_t i = 0; i < 4; ++i) {
    step.fill(static_cast<double>(i));
    dropout.seek(i);
    graph.run();
    CHECK(relative_error(y, here(x, t, &dropout)) < 1e-5);
  }
}

TEST_CASE("unet on the device: sampling with it is one recorded step, in f32 and bf16") {
  if (!testing::device_answers()) return;
  UNetConfig config = tiny_config();
  config.out_channels = config.in_channels;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    UNet unet = make_unet(config);
    randomize(unet, 0.1);
    nn::for_each_parameter(unet, [&](const std::string&, Tensor& p) {
      p = convert(detach(p), dtype).to(Device::cuda());
    });
    const GaussianDiffusion process{NoiseSchedule::linear()};
    Rng rng(4, Purpose::sample);
    const Tensor x_T = randn(rng, {3, 6, 6, 2}, DType::f32, Device::cuda());
    DdpmOptions options{.steps = 4, .clip_x0 = true};
    const Tensor recorded = sample_ddpm(process, std::cref(unet), x_T, rng, options);
    options.graph = false;
    const Tensor direct = sample_ddpm(process, std::cref(unet), x_T, rng, options);
    CHECK(recorded.dtype() == DType::f32);
    CHECK(relative_error(recorded, direct) == 0.0);
  }
}

TEST_CASE("sinusoidal_embedding: the device has the CPU's values") {
  if (!testing::device_answers()) return;
  const Tensor t = timesteps({0, 1, 10, 500, 999, 100'000});
  for (const std::int64_t dim : {4, 6, 32, 130}) {
    const Tensor wanted = sinusoidal_embedding(t, dim, DType::f64);
    const Tensor got = sinusoidal_embedding(t.to(Device::cuda()), dim);
    CHECK(got.device() == Device::cuda());
    // Half a unit in the last place of f32, which near 1 is 2^-24.
    CHECK(max_difference(convert(got.to(Device::cpu()), DType::f64), wanted) < 1.001 * 0x1p-25);
    const Tensor rounded = sinusoidal_embedding(t.to(Device::cuda()), dim, DType::bf16);
    CHECK(rounded.dtype() == DType::bf16);
    CHECK(max_difference(convert(rounded.to(Device::cpu()), DType::f64), wanted) < 1.01 * 0x1p-9);
  }
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
  CHECK(max_difference(convert(single, DType::f64), y) < 1e-7);
}
