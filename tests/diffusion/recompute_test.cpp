// UNet::recompute: blocks computed a second time for the gradients.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"
#include "nn/flat.h"
#include "tensor/memory.h"
#include "tests/diffusion/tiny_unet.h"

using namespace ito;
using test::make_unet;
using test::randomize;
using test::timesteps;
using test::tiny_config;

namespace {

struct Step {
  double loss;
  std::uint32_t next_draw;  // of the generator of dropout
  std::vector<Tensor> gradients;
};

Step step(UNet& unet, bool recompute, const Rng& dropout_rng = Rng(9, Purpose::dropout)) {
  Rng rng(2, Purpose::test), dropout = dropout_rng;
  const UNetConfig& c = unet.config;
  const Tensor x = randn(rng, {3, c.image_size, c.image_size, c.in_channels}, DType::f64);
  const Tensor wanted = randn(rng, {3, c.image_size, c.image_size, c.out_channels}, DType::f64);
  const Tensor labels = c.num_classes > 0 ? Tensor::from<std::int64_t>({0, 2, 1}, {3}) : Tensor();
  unet.recompute = recompute;
  const Tensor loss = mean(square(unet(x, timesteps({3, 500, 999}), {labels}, &dropout) - wanted));
  auto gradients = grad(loss, nn::parameters(unet));
  return {loss.item(), dropout.next_draw(), std::move(gradients)};
}

// |a - b| / |a| of all gradients together.
double difference(const Step& a, const Step& b) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < a.gradients.size(); ++i) {
    error += sum(square(a.gradients[i] - b.gradients[i])).item();
    norm += sum(square(a.gradients[i])).item();
  }
  return std::sqrt(error / norm);
}

UNet network(UNetConfig config) {
  UNet unet = make_unet(config);
  nn::to_dtype(unet, DType::f64);
  randomize(unet, 0.1);
  return unet;
}

}  // namespace

TEST_CASE("recompute: the same loss, gradients and dropout, in every kind of network") {
  UNetConfig adagn = tiny_config(), classes = tiny_config();
  adagn.conditioning = EmbeddingMode::adagn;
  classes.num_classes = 3;
  classes.blocks_per_level = 2;
  for (UNetConfig config : {tiny_config(), adagn, classes}) {
    config.dropout = 0.3;
    UNet unet = network(config);
    const Step kept = step(unet, false), again = step(unet, true);
    CHECK(again.loss == kept.loss);
    CHECK(again.next_draw == kept.next_draw);
    CHECK(difference(kept, again) < 1e-14);
    // Other numbers of dropout are seen: it is not that nothing is dropped.
    CHECK(difference(kept, step(unet, true, Rng(10, Purpose::dropout))) > 1e-3);
  }
}

TEST_CASE("recompute: gradients of gradients go through recomputed blocks") {
  UNet unet = network(tiny_config());
  Rng rng(2, Purpose::test);
  const Tensor x = parameter(randn(rng, {1, 6, 6, 2}, DType::f64));
  const auto second = [&](bool recompute) {
    unet.recompute = recompute;
    const auto [dx] = grad<1>(sum(square(unet(x, timesteps({7})))), {x}, {.create_graph = true});
    return grad(sum(square(dx)), nn::parameters(unet));
  };
  const auto kept = second(false), again = second(true);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    CHECK(test::max_difference(kept[i], again[i]) < 1e-12 * (1.0 + max(abs(kept[i])).item()));
  }
}

TEST_CASE("recompute: a step needs far less memory, and sampling knows nothing of it") {
  UNetConfig config = tiny_config();
  config.image_size = 24;
  config.attention_resolutions = {};
  config.base_channels = 8;
  config.blocks_per_level = 3;
  UNet unet = make_unet(config);
  nn::FlatParameters flat(unet);
  Rng rng(2, Purpose::test);
  const Tensor x = randn(rng, {8, 24, 24, 2});
  const Tensor t = timesteps({1, 2, 3, 4, 5, 6, 7, 8});
  const auto peak = [&](bool recompute) {
    unet.recompute = recompute;
    const auto before = memory::usage().current;
    memory::reset_peak();
    backward(mean(unet(x, t)));
    return static_cast<double>(memory::usage().peak - before);
  };
  const double kept = peak(false), again = peak(true);
  MESSAGE("peak with recomputation: ", again / kept, " of that without");
  CHECK(again < 0.6 * kept);
  const NoGrad off;
  unet.recompute = false;
  const auto plain = unet(x, t).to_vector<float>();
  unet.recompute = true;
  CHECK(unet(x, t).to_vector<float>() == plain);
}
