// Batches made where the data set lives, against what they say they are: single ops on the CPU.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "data/batch.h"
#include "tensor/cuda_graph.h"
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

// The definition, op by op on the CPU.
Tensor op_by_op(const Dataset& set, const std::vector<std::int64_t>& indices, Rng* flip) {
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
  return Tensor::from(x0, {batch, height, width, channels});
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

TEST_CASE("gather_batch: the bits of its definition, for any size, flip and device") {
  const std::vector<std::int64_t> indices = {4, 0, 4, 2, 1, 3};
  for (const Device device : testing::devices()) {
    // Sizes that are and are not a multiple of four elements, odd and even widths.
    for (const Shape& shape : {Shape{5, 2, 4, 3}, Shape{5, 3, 3, 1}, Shape{5, 1, 1, 1},
                               Shape{5, 3, 7, 2}, Shape{5, 9, 8, 1}}) {
      for (const bool flip : {false, true}) {
        CAPTURE(shape.str());
        Rng flips(5, Purpose::augment);
        flips.seek(3, 11);
        Rng flips_again = flips;
        const Tensor wanted = op_by_op(numbered(shape), indices, flip ? &flips : nullptr);
        const Tensor got = gather_batch(numbered(shape, device), integers(indices, device),
                                        flip ? &flips_again : nullptr);
        CHECK(got.device() == device);
        CHECK(same_bits(got, wanted));
        CHECK(flips_again.next_draw() == flips.next_draw());
      }
    }
  }
}

TEST_CASE("gather_batch: a recorded graph follows indices and the step in memory") {
  const std::vector<std::vector<std::int64_t>> indices = {{0, 1}, {2, 2}, {1, 0}, {4, 3}};
  const Shape shape{5, 3, 3, 2};
  for (const Device device : testing::devices()) {
    const Dataset set = numbered(shape, device);
    Tensor step = Tensor::zeros({1}, DType::i64, device);
    Tensor chosen = integers({0, 0}, device);
    Rng flips(9, Purpose::augment);
    flips.bind(step);
    Tensor batch;
    CudaGraph graph(device, [&] {
      flips.seek(0);
      batch = gather_batch(set, chosen, &flips);
    });
    for (std::size_t i = 0; i < indices.size(); ++i) {
      step.fill(static_cast<double>(100 + i));
      chosen.assign(integers(indices[i], device));
      graph.run();
      Rng flips_now(9, Purpose::augment);
      flips_now.seek(100 + i);
      CHECK(same_bits(batch, op_by_op(numbered(shape), indices[i], &flips_now)));
    }
  }
}

TEST_CASE("gather_batch: an index that cannot be looked at while recording gives NaN") {
  if (!testing::device_answers()) return;
  const Device device = Device::cuda();
  const Dataset set = numbered({3, 2, 2, 1}, device);
  Tensor chosen = integers({0, 1, 2}, device);
  Tensor batch;
  CudaGraph graph(device, [&] { batch = gather_batch(set, chosen); });
  graph.run();
  graph.run();
  chosen.assign(integers({-1, 3, 1}, device));
  graph.run();
  const Tensor x0 = batch.to(Device::cpu());
  CHECK(all_nan(slice(x0, 0, 0, 2)));
  CHECK_FALSE(all_nan(slice(x0, 0, 2, 3)));
}

TEST_CASE("gather_batch: wrong indices, shapes, dtypes and devices are refused") {
  const Dataset set = numbered({3, 2, 2, 1});
  const Tensor two = integers({0, 1}, Device::cpu());
  CHECK_NOTHROW(gather_batch(set, two));
  CHECK_REFUSED(gather_batch(set, integers({0, 3}, Device::cpu())), ValueError,
                "indices must be in [0, 3); got 3");
  CHECK_REFUSED(gather_batch(set, Tensor::zeros({2})), DTypeError, "indices");
  if (!testing::device_answers()) return;
  CHECK_REFUSED(gather_batch(set, two.to(Device::cuda())), DeviceError, "one device");
  Rng flips(2, Purpose::augment);
  flips.bind(Tensor::zeros({1}, DType::i64, Device::cuda()));
  CHECK_REFUSED(gather_batch(set, two, &flips), DeviceError, "flip's step");
}
