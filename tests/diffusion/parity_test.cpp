// ito's U-Net against PyTorch's, from a file that tests/fixtures/make_unet_parity.py wrote.
// usage: test_unet_parity FIXTURE [cuda] [doctest options]
// With `cuda` ito computes on the device, in f32; exit code 77 when there is none.
//
// Both programs compute the same sums in another order, so the tolerances are for rounding only.
// Relative to the norm of a tensor:
//   f64  1e-12 for everything (found: output 8e-16, gradients 6e-15, after Adam 4e-13)
//   f32  1e-4 for output, losses and gradients (found: 1e-5 at most)
//        1e-4 for parameters after ten steps of Adam (found: 7e-6), 1e-2 for what the steps changed
//        (found: 4e-4): Adam divides a gradient by its size, so elements with small gradients move
//        by their rounding
// Some gradients are 0 in exact arithmetic (see vanishes()). There both have rounding only, which
// has no digits in common, and in f32 Adam walks along its sign: such parameters change nothing and
// are compared with what rounding may do.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/loss.h"
#include "autograd/ops/reduce.h"
#include "diffusion/models/unet.h"
#include "nn/adam.h"
#include "nn/flat.h"
#include "nn/safetensors.h"
#include "tests/oracles/chain.h"

using namespace ito;
using test::Chain;

namespace {

std::string fixture_path;
Device device = Device::cpu();

const nn::SafeTensors& fixture() {
  static const nn::SafeTensors file = nn::load_safetensors(fixture_path);
  return file;
}

DType dtype() { return device.is_cuda() ? DType::f32 : fixture().at("x0").dtype(); }

// PyTorch's layouts to ito's: NCHW images to NHWC, OIHW weights to [O, kh, kw, I].
Tensor from_torch(const std::string& name) {
  const Tensor& x = fixture().at(name);
  const Tensor y = x.rank() == 4 ? detach(permute(x, {0, 2, 3, 1})) : x;
  return cast(y, dtype()).to(device);
}

Tensor timesteps() { return fixture().at("t").to(device); }

// Comparisons are made in f64 on the CPU.
Tensor in_f64(const Tensor& x) { return cast(x.to(Device::cpu()), DType::f64); }

double norm(const Tensor& x) { return std::sqrt(sum(square(in_f64(x))).item()); }

double distance(const Tensor& a, const Tensor& b) { return norm(in_f64(a) - in_f64(b)); }

double relative_error(const Tensor& got, const Tensor& wanted) {
  return distance(got, wanted) / norm(wanted);
}

double tolerance() { return dtype() == DType::f64 ? 1e-12 : 1e-4; }

// Files without a configuration are of the preset `mnist`, or `cifar10` when images have colours.
UNetConfig config() {
  const auto& metadata = fixture().metadata;
  const auto found = metadata.find("config");
  if (found != metadata.end()) return UNetConfig::from_json(found->second);
  return fixture().at("x0").size(1) == 3 ? UNetConfig::cifar10() : UNetConfig::mnist();
}

std::vector<double> wanted_losses() {
  return cast(fixture().at("losses"), DType::f64).to_vector<double>();
}

// Whether the parameter has no influence on the output: what it adds is the same for all that is
// compared with one another. A bias of the keys adds to a whole row of scores, which softmax
// ignores; where a group of the group norm is a single channel, what is added to a whole channel
// before it is subtracted again.
bool vanishes(const std::string& name) {
  if (name.ends_with("to_k.bias")) return true;
  const UNetConfig c = config();
  if (c.norm_groups != c.channels(0)) return false;
  const std::string top = "up_blocks." + std::to_string(c.levels() - 1) + ".resnets.";
  if (!name.starts_with("down_blocks.0.resnets.") && !name.starts_with(top)) return false;
  if (name.ends_with("conv1.bias") || name.find("time_emb_proj") != std::string::npos) return true;
  const std::string last = top + std::to_string(c.blocks_per_level);
  return name == last + ".conv2.bias" || name == last + ".conv_shortcut.bias";
}

UNet network() {
  Rng init(0, Purpose::init);
  UNet unet(config(), init);
  nn::for_each_parameter(unet, [](const std::string&, Tensor& p) {
    p = parameter(cast(detach(p), dtype()).to(device));
  });
  const NoGrad no_grad;
  nn::for_each_parameter(
      unet, [](const std::string& name, Tensor& p) { p.assign(from_torch("weight/" + name)); });
  return unet;
}

Tensor target(const UNet& unet) {
  return slice(from_torch("noise"), -1, 0, unet.config.out_channels);
}

Tensor loss_of(const UNet& unet) { return mse(unet(from_torch("x_t"), timesteps()), target(unet)); }

}  // namespace

TEST_CASE("parity: PyTorch's network has ito's tensors, and no others") {
  UNet unet = network();
  std::map<std::string, Shape> wanted;
  for (const auto& [name, tensor] : fixture().tensors) {
    if (name.starts_with("weight/")) wanted[name.substr(7)] = from_torch(name).shape();
  }
  std::map<std::string, Shape> got;
  for (const auto& [name, p] : nn::named_parameters(unet)) got[name] = p.shape();
  CHECK(got == wanted);
}

TEST_CASE("parity: noising agrees") {
  const Chain process{NoiseSchedule::linear()};
  const Tensor x_t = process.add_noise(from_torch("x0"), timesteps(), from_torch("noise"));
  CHECK(relative_error(x_t, from_torch("x_t")) < (dtype() == DType::f64 ? 1e-14 : 1e-6));
}

TEST_CASE("parity: output and loss agree") {
  const UNet unet = network();
  const Tensor eps_hat = unet(from_torch("x_t"), timesteps());
  const double error = relative_error(eps_hat, from_torch("eps_hat"));
  const double wanted_loss = wanted_losses()[0];
  const double loss_error = std::abs(loss_of(unet).item() / wanted_loss - 1.0);
  MESSAGE("relative error: output ", error, ", loss ", loss_error);
  CHECK(error < tolerance());
  CHECK(loss_error < tolerance());
}

TEST_CASE("parity: a network that differs in one constant is told apart") {
  UNet unet = network();
  for (UNetLevel& level : unet.up_blocks) {
    for (ResidualBlock& block : level.resnets) block.norm2.eps = 1e-2;
  }
  const Tensor eps_hat = unet(from_torch("x_t"), timesteps());
  CHECK(relative_error(eps_hat, from_torch("eps_hat")) > tolerance());
}

TEST_CASE("parity: the gradient of every tensor agrees") {
  UNet unet = network();
  backward(loss_of(unet));
  const double rounding = dtype() == DType::f64 ? 1e-14 : 1e-6;
  double total = 0.0, worst = 0.0;
  for (const auto& [name, p] : nn::named_parameters(unet))
    total = std::hypot(total, norm(p.grad()));
  for (const nn::NamedTensor& entry : nn::named_parameters(unet)) {
    const auto& name = entry.first;
    const Tensor& p = entry.second;
    const Tensor wanted = from_torch("grad/" + name);
    if (vanishes(name)) {
      CHECK_MESSAGE(norm(wanted) < rounding * total, name);
      CHECK_MESSAGE(norm(p.grad()) < rounding * total, name);
      continue;
    }
    const double error = relative_error(p.grad(), wanted);
    CHECK_MESSAGE(error < tolerance(), name, ": ", error);
    worst = std::max(worst, error);
  }
  MESSAGE("largest relative error of a gradient tensor: ", worst);
}

TEST_CASE("parity: ten steps of Adam agree, in losses and parameters") {
  UNet unet = network();
  nn::FlatParameters flat(unet, device);
  nn::Adam adam(flat, {.lr = 2e-4});
  const std::vector<double> losses = wanted_losses();
  double worst_loss = 0.0;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    flat.zero_grad();
    const Tensor loss = loss_of(unet);
    const double error = std::abs(loss.item() / losses[i] - 1.0);
    CHECK_MESSAGE(error < tolerance(), "loss ", i, ": ", error);
    worst_loss = std::max(worst_loss, error);
    if (i + 1 == losses.size()) break;
    backward(loss);
    adam.step();
  }
  double worst = 0.0, worst_change = 0.0;
  for (const nn::NamedTensor& entry : nn::named_parameters(unet)) {
    const auto& name = entry.first;
    const Tensor& p = entry.second;
    const Tensor wanted = from_torch("after/" + name);
    if (vanishes(name) && dtype() == DType::f32) {
      const double farthest = 10 * 2e-4;  // ten steps of at most the learning rate, from both
      CHECK_MESSAGE(max(abs(in_f64(p) - in_f64(wanted))).item() < 2.001 * farthest, name);
      continue;
    }
    const Tensor start = from_torch("weight/" + name);
    if (norm(start) > 0.0) {  // the biases of the norms start at 0 and consist of changes alone
      const double error = relative_error(p, wanted);
      CHECK_MESSAGE(error < tolerance(), name, ": ", error);
      worst = std::max(worst, error);
    }
    if (vanishes(name)) continue;
    const double error = distance(p, wanted) / distance(wanted, start);
    CHECK_MESSAGE(error < 100 * tolerance(), name, ": ", error);
    worst_change = std::max(worst_change, error);
  }
  MESSAGE("relative error: losses ", worst_loss, ", parameters ", worst, ", their changes ",
          worst_change);
}

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: test_unet_parity FIXTURE [cuda] [doctest options]\n");
    return 2;
  }
  fixture_path = argv[1];
  if (argc > 2 && std::string(argv[2]) == "cuda") {
    device = Device::cuda();
    if (!available(device)) {
      fmt::print(stderr, "SKIPPED on the device: {}\n", why_unavailable(device));
      return 77;
    }
  }
  return doctest::Context(argc - 1, argv + 1).run();
}
