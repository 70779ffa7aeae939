// What a profile says of a whole network, against the walk over its shapes.
#include <doctest/doctest.h>

#include <set>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/random.h"
#include "autograd/ops/reduce.h"
#include "benchmarks/unet_shapes.h"
#include "diffusion/models/unet.h"
#include "nn/name_layers.h"
#include "tensor/profile_report.h"

using namespace ito;

namespace {

double flops_of(const profile::Profile& profile, const std::set<std::string>& kernels) {
  double flops = 0.0;
  for (const auto& row : profile::by_kernel(profile)) {
    if (kernels.contains(row.kernel)) flops += row.total.flops;
  }
  return flops;
}

const std::set<std::string> convolutions = {
    "conv2d",          "conv2d_input_grad",          "conv2d_weight_grad",
    "upsample_conv2d", "upsample_conv2d_input_grad", "upsample_conv2d_weight_grad"};

// One forward pass of a network on two images, and a backward pass when asked for.
struct Run {
  UNetConfig config = UNetConfig::mnist();
  Rng init{0, Purpose::init}, noise{0, Purpose::noise};
  UNet unet{config, init};
  profile::Profile profile;

  Run() { nn::name_layers(profile, unet); }
  void forward(bool with_backward) {
    const Tensor x = randn(noise, {2, 28, 28, 1});
    const Tensor t = Tensor::from(std::vector<std::int64_t>{3, 700}, {2});
    const profile::Profiling on(profile);
    const Tensor loss = mean(square(unet(x, t)));
    if (with_backward) backward(loss);
  }
};

}  // namespace

TEST_CASE(
    "profile: the network's products are those of its shapes, and three times so in training") {
  const bench::UNetShapes shapes = bench::unet_shapes(UNetConfig::mnist(), 2);
  double conv = 0.0, attention = 0.0;
  for (const auto& [s, count] : shapes.convs) {
    // The walk counts what is left when upsampling is folded into its convolution: 4 of 9 taps.
    const double taps = s.kh == 4 ? 9.0 / 4.0 : 1.0;
    const auto products = static_cast<double>(s.n * s.p * s.q * s.out * s.kh * s.kw * s.in);
    conv += 2.0 * count * taps * products;
  }
  for (const auto& [s, count] : shapes.attentions) {
    attention += 4.0 * count * static_cast<double>(s.n * s.heads * s.l * s.s * s.d);
  }
  Run once, trained;
  once.forward(false);
  CHECK(flops_of(once.profile, convolutions) == doctest::Approx(conv));
  CHECK(flops_of(once.profile, {"attention"}) == doctest::Approx(attention));

  trained.forward(true);
  const double conv_in = 2.0 * 2 * 28 * 28 * 32 * 9;  // whose input needs no gradient
  CHECK(flops_of(trained.profile, convolutions) == doctest::Approx(3.0 * conv - conv_in));
  CHECK(flops_of(trained.profile, {"attention_grad"}) == doctest::Approx(2.5 * attention));
}

TEST_CASE("profile: every kernel of a training step says what it has to move") {
  Run run;
  run.forward(true);
  for (const auto& row : profile::by_kernel(run.profile)) {
    CAPTURE(row.kernel);
    CHECK(row.total.bytes > 0.0);
  }
}

TEST_CASE("profile: every layer with parameters is seen in both directions, under its own name") {
  Run run;
  run.forward(true);
  std::set<std::string> forward, backward;
  for (const auto& row : profile::by_layer(run.profile)) {
    if (row.forward.launches > 0) forward.insert(row.layer);
    if (row.backward.launches > 0) backward.insert(row.layer);
  }
  for (const auto& [name, parameter] : nn::named_parameters(run.unet)) {
    const std::string layer = name.substr(0, name.rfind('.'));
    CAPTURE(layer);
    CHECK(forward.contains(layer));
    CHECK(backward.contains(layer));
  }
  CHECK(forward.contains("down_blocks.1.attentions.0"));  // the attention between its linear layers
  CHECK(forward.contains("network"));
  CHECK_FALSE(forward.contains("down_blocks"));
}

TEST_CASE("profile: a network that moved has no names, and its time is still counted") {
  Run run;
  const UNet moved = std::move(run.unet);
  const Tensor t = Tensor::from(std::vector<std::int64_t>{3, 700}, {2});
  {
    const NoGrad off;
    const profile::Profiling on(run.profile);
    moved(randn(run.noise, {2, 28, 28, 1}), t);
  }
  const auto rows = profile::by_layer(run.profile);
  CHECK(rows.front().layer.empty());
  CHECK(rows.front().forward.launches > 0);
  for (const auto& row : rows) CHECK(row.layer != "conv_in");
}
