#include "data/batch.h"

#include <algorithm>
#include <array>
#include <limits>

#include "tensor/check.h"
#include "tensor/parallel.h"

namespace ito::data {
namespace {

// All 256 values of x / 127.5 - 1, rounded once from double.
const std::array<float, 256>& byte_values() {
  static const auto table = [] {
    std::array<float, 256> values{};
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(static_cast<double>(i) / 127.5 - 1.0);
    }
    return values;
  }();
  return table;
}

void check_indices(const char* op, const std::vector<std::int64_t>& indices, std::int64_t n) {
  for (const std::int64_t i : indices) {
    if (i < 0 || i >= n) fail<ValueError>("{}: indices must be in [0, {}); got {}", op, n, i);
  }
}

void copy_row(const std::uint8_t* from, float* to, std::int64_t width, std::int64_t channels,
              bool mirrored) {
  const auto& value = byte_values();
  if (!mirrored) {
    for (std::int64_t i = 0; i < width * channels; ++i) to[i] = value[from[i]];
    return;
  }
  for (std::int64_t x = 0; x < width; ++x) {
    const std::uint8_t* pixel = from + (width - 1 - x) * channels;
    for (std::int64_t c = 0; c < channels; ++c) to[x * channels + c] = value[pixel[c]];
  }
}

}  // namespace

BatchSampler::BatchSampler(std::int64_t n, std::int64_t batch, std::uint64_t seed)
    : n_(n), batch_(batch), seed_(seed) {
  if (batch < 1 || batch > n) {
    fail<ValueError>("BatchSampler: the batch must be from 1 to the number of images, {}; got {}",
                     n, batch);
  }
}

std::vector<std::int64_t> BatchSampler::order(std::int64_t epoch) const {
  Rng rng(seed_, Purpose::shuffle);
  rng.seek(static_cast<std::uint64_t>(epoch));
  return permutation(rng, n_);
}

const std::vector<std::int64_t>& BatchSampler::cached_order(std::int64_t epoch) const {
  Cached& slot = cache_[epoch % 2];
  if (slot.epoch != epoch) {
    slot.order = order(epoch);
    slot.epoch = epoch;
  }
  return slot.order;
}

std::vector<std::int64_t> BatchSampler::indices_at(std::int64_t step) const {
  if (step < 0 || step >= std::numeric_limits<std::int64_t>::max() / batch_) {
    fail<ValueError>("BatchSampler: no step {} in a run with batches of {}", step, batch_);
  }
  std::vector<std::int64_t> indices;
  indices.reserve(static_cast<std::size_t>(batch_));
  for (std::int64_t place = step * batch_; place < (step + 1) * batch_; ++place) {
    indices.push_back(cached_order(place / n_)[static_cast<std::size_t>(place % n_)]);
  }
  return indices;
}

Tensor gather_batch(const Dataset& dataset, const std::vector<std::int64_t>& indices, Rng* flip) {
  const Tensor& images = dataset.images;
  expect_rank("gather_batch", "images", images, 4);
  check_indices("gather_batch", indices, images.size(0));
  const auto batch = static_cast<std::int64_t>(indices.size());
  const Tensor draws = flip ? rand(*flip, {batch}) : Tensor();
  const float* draw = flip ? draws.data<float>() : nullptr;
  Tensor x = Tensor::empty(images.shape().with(0, batch));
  const std::uint8_t* from = images.data<std::uint8_t>();
  float* to = x.mutable_data<float>();
  const std::int64_t width = images.size(2), channels = images.size(3);
  const std::int64_t row = width * channels, rows = images.size(1);
  parallel_for(batch, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const bool mirrored = draw && draw[i] < 0.5f;
      const std::uint8_t* image = from + indices[static_cast<std::size_t>(i)] * rows * row;
      for (std::int64_t y = 0; y < rows; ++y) {
        copy_row(image + y * row, to + (i * rows + y) * row, width, channels, mirrored);
      }
    }
  });
  return x;
}

Tensor gather_labels(const Dataset& dataset, const std::vector<std::int64_t>& indices) {
  if (!dataset.labels.defined()) {
    fail<ValueError>("gather_labels: the data set {} has no labels", dataset.name);
  }
  check_indices("gather_labels", indices, dataset.count());
  Tensor labels = Tensor::empty({static_cast<std::int64_t>(indices.size())}, DType::i64);
  const std::int64_t* from = dataset.labels.data<std::int64_t>();
  std::transform(indices.begin(), indices.end(), labels.mutable_data<std::int64_t>(),
                 [from](std::int64_t i) { return from[i]; });
  return labels;
}

Tensor to_bytes(const Tensor& images) {
  expect_dtype("to_bytes", "images", images, DType::f32);
  const Tensor source = images.to(Device::cpu());
  Tensor bytes = Tensor::empty(source.shape(), DType::u8);
  const float* from = source.data<float>();
  std::uint8_t* to = bytes.mutable_data<std::uint8_t>();
  parallel_for(source.numel(), 1 << 15, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float value = (from[i] + 1.0f) * 127.5f + 0.5f;
      // Written so that NaN, for which every comparison is false, becomes 0.
      to[i] = value >= 255.0f ? 255 : value > 0.0f ? static_cast<std::uint8_t>(value) : 0;
    }
  });
  return bytes;
}

Tensor from_bytes(const Tensor& images) {
  expect_dtype("from_bytes", "images", images, DType::u8);
  Tensor x = Tensor::empty(images.shape());
  const std::uint8_t* from = images.data<std::uint8_t>();
  float* to = x.mutable_data<float>();
  const auto& value = byte_values();
  for (std::int64_t i = 0; i < images.numel(); ++i) to[i] = value[from[i]];
  return x;
}

}  // namespace ito::data
