// Batches made where the data set lives, against what they say they are: single ops on the CPU.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "data/batch.h"
#include "tensor/graph.h"
#include "tests/compare.h"
#include "tests/data/support.h"
#include "tests/devices.h"

using namespace ito;
using test::same_bits;
using namespace ito::data;

namespace {

// Images whose bytes are told apart by place, with every byte among them.
Dataset numbered(const Shape& shape, Device device = Device::cpu()) {
  const auto bytes = support::ramp(static_cast<std::size_t>(shape.numel()));
  return Dataset{Tensor::from(bytes, shape), {}, "numbered", {}, {}}.to(device);
}

Tensor integers(const std::vector<std::int64_t>& values, Device device) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())}).to(device);
}

bool all_nan(const Tensor& x) {
  for (const float v : x.to(Device::cpu()).to_vector<float>()) {
    if (!std::isnan(v)) return false;
  }
  return true;
}

// A falling signal and a rising noise over 7 timesteps.
Levelss levels(const std::vector<std::int64_t>& t, Device device) {
  std::vector<float> alpha, sigma;
  for (int i = 0; i < 7; ++i) {
    alpha.push_back(std::cos(0.2f * static_cast<float>(i)));
    sigma.push_back(std::sin(0.2f * static_cast<float>(i)));
  }
  return {integers(t, device), Tensor::from(alpha, {7}).to(device),
          Tensor::from(sigma, {7}).to(device)};
}

// The definition, op by op on the CPU.
NoisyBatch op_by_op(const Dataset& set, const std::vector<std::int64_t>& indices, Rng* flip,
                    const std::vector<std::int64_t>& t, Rng& noise, DType dtype) {
  const std::int64_t height = set.images.size(1), width = set.images.size(2),
                     channels = set.images.size(3);
  const auto batch = static_cast<std::int64_t>(indices.size());
  const auto bytes = set.images.to_vector<std::uint8_t>();
  const Tensor u = flip ? rand(*flip, {batch}) : Tensor::full({batch}, 1.0);
  std::vector<float> x0;
  for (std::int64_t i = 0; i < batch; ++i) {
    const bool mirrored = u.data<float>()[i] < 0.5f;
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width; ++x) {
        for (std::int64_t c = 0; c < channels; ++c) {
          const std::int64_t from = mirrored ? width - 1 - x : x;
          const auto place =
              ((indices[static_cast<std::size_t>(i)] * height + y) * width + from) * channels + c;
          x0.push_back(static_cast<float>(bytes[static_cast<std::size_t>(place)] / 127.5 - 1.0));
        }
      }
    }
  }
  NoisyBatch wanted;
  wanted.x0 = Tensor::from(x0, {batch, height, width, channels});
  wanted.eps = randn(noise, wanted.x0.shape());
  const Levelss table = levels(t, Device::cpu());
  std::vector<float> alpha, sigma;
  for (const std::int64_t step : t) {
    alpha.push_back(table.alpha.data<float>()[step]);
    sigma.push_back(table.sigma.data<float>()[step]);
  }
  const Tensor a = Tensor::from(alpha, {batch, 1, 1, 1}), s = Tensor::from(sigma, {batch, 1, 1, 1});
  wanted.x_t = convert(a * wanted.x0 + s * wanted.eps, dtype);
  return wanted;
}

}  // namespace

TEST_CASE("gather_batch: every byte becomes the f32 nearest to x / 127.5 - 1, on every device") {
  for (const Device device : testing::devices()) {
    const Tensor x = gather_batch(numbered({1, 16, 16, 1}, device), {0});
    CHECK(x.device() == device);
    const auto values = x.to(Device::cpu()).to_vector<float>();
    REQUIRE(values.size() == 256);
    for (std::size_t i = 0; i < 256; ++i) {
      CHECK(values[i] == static_cast<float>(static_cast<double>(i) / 127.5 - 1.0));
    }
  }
}

TEST_CASE("gather_noisy_batch: the bits of the ops one by one, for any size, flip, dtype, device") {
  const std::vector<std::int64_t> indices = {4, 0, 4, 2, 1, 3}, t = {0, 6, 3, 3, 1, 5};
  for (const Device device : testing::devices()) {
    // Sizes that are and are not a multiple of a Philox block, odd and even widths.
    for (const Shape& shape : {Shape{5, 2, 4, 3}, Shape{5, 3, 3, 1}, Shape{5, 1, 1, 1},
                               Shape{5, 3, 7, 2}, Shape{5, 9, 8, 1}}) {
      for (const bool flip : {false, true}) {
        for (const DType dtype : {DType::f32, DType::bf16}) {
          CAPTURE(shape.str());
          Rng flips(5, Purpose::augment), noise(5, Purpose::noise);
          flips.seek(3, 11);
          noise.seek(3, 11);
          Rng flips_again = flips, noise_again = noise;
          const NoisyBatch wanted =
              op_by_op(numbered(shape), indices, flip ? &flips : nullptr, t, noise, dtype);
          const NoisyBatch got = gather_noisy_batch(
              numbered(shape, device), integers(indices, device), flip ? &flips_again : nullptr,
              levels(t, device), noise_again, dtype);
          CHECK(got.x_t.device() == device);
          CHECK(same_bits(got.x0, wanted.x0));
          CHECK(same_bits(got.eps, wanted.eps));
          CHECK(same_bits(got.x_t, wanted.x_t));
          // Both took one draw of each generator.
          CHECK(flips_again.next_draw() == flips.next_draw());
          CHECK(noise_again.next_draw() == noise.next_draw());
        }
      }
    }
  }
}

TEST_CASE(
    "gather_noisy_batch: a recorded graph follows indices, timesteps and the step in memory") {
  const std::vector<std::vector<std::int64_t>> indices = {{0, 1}, {2, 2}, {1, 0}, {4, 3}};
  const std::vector<std::vector<std::int64_t>> t = {{6, 0}, {1, 2}, {3, 3}, {4, 5}};
  const Shape shape{5, 3, 3, 2};
  for (const Device device : testing::devices()) {
    const Dataset set = numbered(shape, device);
    Tensor step = Tensor::zeros({1}, DType::i64, device);
    Tensor chosen = integers({0, 0}, device);
    Levelss noisy = levels({0, 0}, device);
    Rng flips(9, Purpose::augment), noise(9, Purpose::noise);
    flips.bind(step);
    noise.bind(step);
    NoisyBatch batch;
    Graph graph(device, [&] {
      flips.seek(0);
      noise.seek(0);
      batch = gather_noisy_batch(set, chosen, &flips, noisy, noise);
    });
    for (std::size_t i = 0; i < indices.size(); ++i) {
      step.fill(static_cast<double>(100 + i));
      chosen.assign(integers(indices[i], device));
      noisy.t.assign(integers(t[i], device));
      graph.run();
      Rng flips_now(9, Purpose::augment), noise_now(9, Purpose::noise);
      flips_now.seek(100 + i);
      noise_now.seek(100 + i);
      const NoisyBatch wanted =
          op_by_op(numbered(shape), indices[i], &flips_now, t[i], noise_now, DType::f32);
      CHECK(same_bits(batch.x0, wanted.x0));
      CHECK(same_bits(batch.eps, wanted.eps));
      CHECK(same_bits(batch.x_t, wanted.x_t));
    }
  }
}

TEST_CASE(
    "gather_noisy_batch: what cannot be looked at while recording gives NaN, not a read outside") {
  if (!testing::device_answers()) return;
  const Device device = Device::cuda();
  const Dataset set = numbered({3, 2, 2, 1}, device);
  Tensor chosen = integers({0, 1, 2}, device);
  const Levelss noisy = levels({0, 1, 2}, device);
  Tensor t = noisy.t;
  Rng noise(2, Purpose::noise);
  NoisyBatch batch;
  Graph graph(device, [&] {
    noise.seek(0);
    batch = gather_noisy_batch(set, chosen, nullptr, noisy, noise);
  });
  graph.run();
  graph.run();
  chosen.assign(integers({-1, 3, 1}, device));
  t.assign(integers({0, 0, 7}, device));
  graph.run();
  const Tensor x0 = batch.x0.to(Device::cpu()), x_t = batch.x_t.to(Device::cpu());
  CHECK(all_nan(slice(x0, 0, 0, 2)));
  CHECK(all_nan(x_t));
  CHECK_FALSE(all_nan(slice(x0, 0, 2, 3)));
}

TEST_CASE("gather_noisy_batch: wrong indices, timesteps, shapes, dtypes and devices are refused") {
  const Device cpu = Device::cpu();
  const Dataset set = numbered({3, 2, 2, 1});
  Rng noise(2, Purpose::noise);
  const auto call = [&](const Tensor& indices, const Levelss& noisy, DType dtype = DType::f32) {
    gather_noisy_batch(set, indices, nullptr, noisy, noise, dtype);
  };
  const Tensor two = integers({0, 1}, cpu);
  const Levelss good = levels({0, 1}, cpu);
  CHECK_NOTHROW(call(two, good));
  CHECK_REFUSED(call(integers({0, 3}, cpu), good), ValueError, "indices must be in [0, 3); got 3");
  CHECK_REFUSED(call(two, levels({0, 7}, cpu)), ValueError, "t must be in [0, 7); got 7");
  CHECK_REFUSED(call(two, levels({0}, cpu)), ShapeError, "t must be [2]");
  CHECK_REFUSED(call(Tensor::zeros({2}), good), DTypeError, "indices");
  CHECK_REFUSED(call(two, {good.t, good.alpha, Tensor::zeros({3})}), ShapeError, "sigma");
  CHECK_REFUSED(call(two, good, DType::f64), DTypeError, "x_t is f32 or bf16; got f64");
  if (!testing::device_answers()) return;
  CHECK_REFUSED(call(two.to(Device::cuda()), good), DeviceError, "one device");
  CHECK_REFUSED(call(two, levels({0, 1}, Device::cuda())), DeviceError, "images and t");
  noise.bind(Tensor::zeros({1}, DType::i64, Device::cuda()));
  CHECK_REFUSED(call(two, good), DeviceError, "noise's step");
}
