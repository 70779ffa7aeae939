// Networks that know classes, and labels that are sometimes forgotten.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops/layout.h"
#include "diffusion/objective/label_dropout.h"
#include "tensor/cuda_graph.h"
#include "tests/devices.h"
#include "tests/diffusion/tiny_unet.h"

using namespace ito;
using test::make_unet;
using test::max_difference;
using test::randomize;
using test::timesteps;
using test::tiny_config;

namespace {

constexpr std::int64_t classes = 3;

UNet conditional_unet() {
  UNetConfig c = tiny_config();
  c.num_classes = classes;
  UNet unet = make_unet(c);
  randomize(unet, 0.1);
  return unet;
}

Tensor labels(const std::vector<std::int64_t>& ids) { return timesteps(ids); }  // i64 too

}  // namespace

TEST_CASE("unet: a class has its own output, and no label means the null class") {
  const UNet unet = conditional_unet();
  Rng rng(4, Purpose::test);
  const Tensor x = randn(rng, {2, 6, 6, 2}), t = timesteps({3, 700});
  const auto asked = [&](std::int64_t y) { return unet(x, t, {labels({y, y})}); };
  for (std::int64_t y = 0; y < classes; ++y) {
    CHECK(max_difference(asked(y), asked(y + 1)) > 1e-3);  // the last: against the null class
  }
  CHECK(max_difference(unet(x, t), asked(classes)) == 0.0);
  // Each image has the class that stands beside it.
  const Tensor both = unet(x, t, {labels({1, 2})});
  CHECK(max_difference(slice(both, 0, 0, 1), slice(asked(1), 0, 0, 1)) < 1e-6);
  CHECK(max_difference(slice(both, 0, 1, 2), slice(asked(2), 0, 1, 2)) < 1e-6);
  CHECK(max_difference(slice(both, 0, 1, 2), slice(asked(1), 0, 1, 2)) > 1e-3);
}

TEST_CASE("unet: the class is added to what the timestep says") {
  // emb = temb + Embedding(y): moving a row of the table into the bias of the last linear layer of
  // the time embedding changes nothing, for that class and no other.
  UNet unet = conditional_unet();
  nn::to_dtype(unet, DType::f64);
  Rng rng(4, Purpose::test);
  const Tensor x = randn(rng, {1, 6, 6, 2}, DType::f64), t = timesteps({70});
  const NoGrad no_grad;
  const Tensor before = unet(x, t, {labels({1})});
  const Tensor other = unet(x, t, {labels({2})});
  Tensor& table = unet.class_embedding->weight;
  Tensor& bias = unet.time_embedding.linear_2.bias;
  bias.assign(bias + reshape(slice(table, 0, 1, 2), bias.shape()));
  table.assign(
      concat({slice(table, 0, 0, 1), 0.0 * slice(table, 0, 1, 2), slice(table, 0, 2, 4)}, 0));
  CHECK(max_difference(unet(x, t, {labels({1})}), before) < 1e-12);
  CHECK(max_difference(unet(x, t, {labels({2})}), other) > 1e-3);
}

TEST_CASE("unet: only the rows of the classes in a batch receive a gradient") {
  UNet unet = conditional_unet();
  Rng rng(4, Purpose::test);
  backward(mean(square(unet(randn(rng, {2, 6, 6, 2}), timesteps({5, 9}), {labels({2, 0})}) - 1.0)));
  const Tensor of_rows = sum(abs(unet.class_embedding->weight.grad()), {1});
  const auto g = of_rows.to_vector<float>();
  CHECK(g[0] > 1e-6F);
  CHECK(g[1] == 0.0F);
  CHECK(g[2] > 1e-6F);
  CHECK(g[3] == 0.0F);  // the null class
}

TEST_CASE("unet: without classes nothing has changed, and labels are refused") {
  UNetConfig c = tiny_config();
  UNet without = make_unet(c, 7);
  c.num_classes = classes;
  UNet with = make_unet(c, 7);
  // The table takes one draw after the time embedding: up to there the initial weights agree.
  CHECK(max_difference(with.time_embedding.linear_2.weight,
                       without.time_embedding.linear_2.weight) == 0.0);
  CHECK(nn::parameter_count(with) - nn::parameter_count(without) == (classes + 1) * 16);
  CHECK(nn::named_parameters(with)[6].first == "class_embedding.weight");
  Rng rng(4, Purpose::test);
  const Tensor x = randn(rng, {1, 6, 6, 2}), t = timesteps({3});
  CHECK_THROWS_AS(without(x, t, {labels({0})}), ValueError);
  CHECK_THROWS_AS(with(x, t, {labels({0, 1})}), ShapeError);
  CHECK_THROWS_AS(with(x, t, {labels({4})}), ValueError);
  CHECK_THROWS_AS(with(x, t, {labels({-1})}), ValueError);
  CHECK_THROWS_AS(with(x, t, {Tensor::zeros({1})}), DTypeError);
}

TEST_CASE("drop_labels: forgets the given part of the labels, and keeps the others") {
  std::vector<std::int64_t> ids(20'000);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i % 10);
  Rng rng(1, Purpose::condition);
  const auto dropped = drop_labels(labels(ids), 10, 0.1, rng).to_vector<std::int64_t>();
  double forgotten = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (dropped[i] == 10) ++forgotten;
    if (dropped[i] != 10) REQUIRE(dropped[i] == ids[i]);
  }
  const double n = static_cast<double>(ids.size());
  CHECK(std::abs(forgotten - 0.1 * n) < 4 * std::sqrt(0.1 * 0.9 * n));  // 4 standard deviations
  CHECK(drop_labels(labels(ids), 10, 0.0, rng).to_vector<std::int64_t>() == ids);
  const auto none = drop_labels(labels(ids), 10, 1.0, rng).to_vector<std::int64_t>();
  CHECK(std::ranges::count(none, 10) == std::ssize(ids));
  CHECK_THROWS_AS(drop_labels(labels(ids), 10, 1.5, rng), ValueError);
  CHECK_THROWS_AS(drop_labels(Tensor::zeros({2}), 10, 0.5, rng), DTypeError);
}

TEST_CASE("drop_labels on the device: the CPU's choice, another at every step of a graph") {
  if (!testing::device_answers()) return;
  const Tensor ids = Tensor::zeros({256}, DType::i64);
  const Device device = Device::cuda();
  const Tensor there = ids.to(device);
  Tensor step = Tensor::zeros({1}, DType::i64, device);
  Rng recorded(1, Purpose::condition), here(1, Purpose::condition);
  recorded.bind(step);
  Tensor got;
  CudaGraph work(device, [&] {
    recorded.seek(0);
    got = drop_labels(there, 10, 0.3, recorded);
  });
  std::vector<std::int64_t> before;
  for (std::uint64_t i = 0; i < 4; ++i) {
    step.fill(static_cast<double>(i));
    work.run();
    here.seek(i);
    const auto wanted = drop_labels(ids, 10, 0.3, here).to_vector<std::int64_t>();
    CHECK(got.to(Device::cpu()).to_vector<std::int64_t>() == wanted);
    CHECK(wanted != before);
    before = wanted;
  }
}
