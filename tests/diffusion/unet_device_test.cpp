// The U-Net on the device: against f64 on the CPU, in bf16, and recorded.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "autograd/ops/layout.h"
#include "diffusion/denoiser/thresholding.h"
#include "diffusion/models/time_embedding.h"
#include "diffusion/sampling/samplers.h"
#include "tensor/cuda_graph.h"
#include "tests/devices.h"
#include "tests/diffusion/tiny_unet.h"
#include "tests/oracles/chain.h"

using namespace ito;
using test::Chain;
using test::make_unet;
using test::max_difference;
using test::randomize;
using test::timesteps;
using test::tiny_config;

namespace {

// A network of every kind of block with parameters that are not 0, and what it is fed.
struct OnDevice {
  UNet unet;
  std::vector<Tensor> parameters;
  Tensor x, t, weight;

  OnDevice(Device device, DType dtype) : unet(make_unet(tiny_config())) {
    randomize(unet, 0.1);
    nn::for_each_parameter(unet, [&](const std::string&, Tensor& p) {
      p = parameter(cast(detach(p), dtype).to(device));
      parameters.push_back(p);
    });
    const DType outside = dtype == DType::bf16 ? DType::f32 : dtype;
    Rng rng(4, Purpose::test);
    x = cast(randn(rng, {2, 6, 6, 2}), outside).to(device);
    weight = cast(randn(rng, {2, 6, 6, 3}), outside).to(device);
    t = timesteps({3, 700}).to(device);
  }
  Tensor output() const { return unet(x, t); }
  /// Of a loss that sees every output with another weight.
  std::vector<Tensor> gradients() const { return grad(sum(weight * output()), parameters); }
};

// ||got - wanted|| / ||wanted|| of tensors on any device.
double relative_error(const Tensor& got, const Tensor& wanted) {
  const auto f64 = [](const Tensor& x) { return cast(x.to(Device::cpu()), DType::f64); };
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
    CudaGraph graph(Device::cuda(), [&] { y = net.output(); });
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
  CudaGraph graph(Device::cuda(), [&] {
    bound.seek(0);
    y = there(x_there, t_there, {}, &bound);
  });
  for (std::uint64_t i = 0; i < 4; ++i) {
    step.fill(static_cast<double>(i));
    dropout.seek(i);
    graph.run();
    CHECK(relative_error(y, here(x, t, {}, &dropout)) < 1e-5);
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
      p = cast(detach(p), dtype).to(Device::cuda());
    });
    const Chain process{NoiseSchedule::linear()};
    Rng rng(4, Purpose::sample);
    const Tensor x_T = randn(rng, {3, 6, 6, 2}, DType::f32, Device::cuda());
    const Denoiser model = thresholded(process.denoiser(std::cref(unet)), clip_x0);
    const auto walk = process.walk(4);
    const Tensor recorded = sample_ddpm(model, x_T, walk, rng);
    const Tensor direct = sample_ddpm(model, x_T, walk, rng, {.loop = {.graph = false}});
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
    CHECK(max_difference(cast(got.to(Device::cpu()), DType::f64), wanted) < 1.001 * 0x1p-25);
    const Tensor rounded = sinusoidal_embedding(t.to(Device::cuda()), dim, DType::bf16);
    CHECK(rounded.dtype() == DType::bf16);
    CHECK(max_difference(cast(rounded.to(Device::cpu()), DType::f64), wanted) < 1.01 * 0x1p-9);
  }
  const Tensor between = Tensor::from(std::vector<float>{0.25F, -3.5F, 998.75F}, {3});
  for (const Sinusoids order : {Sinusoids::ddpm, Sinusoids::iddpm}) {
    const Tensor wanted = sinusoidal_embedding(between, 32, DType::f64, order);
    const Tensor got = sinusoidal_embedding(between.to(Device::cuda()), 32, DType::f32, order);
    CHECK(max_difference(cast(got.to(Device::cpu()), DType::f64), wanted) < 1.001 * 0x1p-25);
  }
}

TEST_CASE("unet on the device: AdaGN, classes, Fourier features and fine details as on the CPU") {
  if (!testing::device_answers()) return;
  UNetConfig c = tiny_config();
  c.conditioning = EmbeddingMode::adagn;
  c.num_classes = 3;
  c.time_features = TimeFeatures::fourier;
  c.fourier_features = {0, 2};
  UNet here = make_unet(c), there = make_unet(c);
  randomize(here, 0.1);
  randomize(there, 0.1);
  nn::for_each_parameter(
      there, [](const std::string&, Tensor& p) { p = parameter(detach(p).to(Device::cuda())); });
  Rng rng(4, Purpose::test);
  const Tensor x = randn(rng, {2, 6, 6, 2}), y = timesteps({1, 3});
  const Tensor t = Tensor::from(std::vector<float>{0.25F, -1.5F}, {2});
  const Tensor wanted = here(x, t, {y});
  const Device device = Device::cuda();
  const Tensor x_there = x.to(device), t_there = t.to(device), y_there = y.to(device);
  CHECK(relative_error(there(x_there, t_there, {y_there}), wanted) < 1e-5);
  // Recorded, and with no labels: the null class is filled in on the device.
  const NoGrad no_grad;
  Tensor output;
  CudaGraph graph(device, [&] { output = there(x_there, t_there); });
  graph.run();
  CHECK(relative_error(output, here(x, t, {timesteps({3, 3})})) < 1e-5);
}
