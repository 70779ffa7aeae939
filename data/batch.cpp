#include "data/batch.h"

#include <algorithm>
#include <limits>

#include "tensor/check.h"
#include "tensor/cuda_graph.h"
#include "tensor/kernels/image_batch.h"
#include "tensor/launch.h"
#include "tensor/parallel.h"
#include "tensor/profile.h"

namespace ito::data {
namespace {

void check_range(const char* op, const char* name, const std::vector<std::int64_t>& values,
                 std::int64_t n) {
  for (const std::int64_t i : values) {
    if (i < 0 || i >= n) fail<ValueError>("{}: {} must be in [0, {}); got {}", op, name, n, i);
  }
}

// A tensor of integers in [0, n), one per image. While a graph is recorded their values are not
// known.
void expect_integers(const char* op, const char* name, const Tensor& x, std::int64_t batch,
                     std::int64_t n) {
  expect_dtype(op, name, x, DType::i64);
  expect_shape(op, name, x, {batch});
  if (!capturing()) check_range(op, name, x.to_vector<std::int64_t>(), n);
}

// The next draw of a generator, for a kernel.
kernel::RandomStream next_stream(Rng& rng) {
  const Tensor& step = rng.bound_step();
  return {rng.key(), rng.step(), step.defined() ? step.data<std::int64_t>() : nullptr,
          rng.first_sample(), rng.next_draw()};
}

void expect_device(const char* op, const Tensor& images, std::initializer_list<Named> others) {
  for (const auto& [name, tensor] : others) {
    if (tensor.defined() && tensor.device() != images.device()) {
      fail<DeviceError>("{}: images and {} must be on one device; got {}", op, name,
                        describe({{"images", images}, {name, tensor}}));
    }
  }
}

}  // namespace

Tensor gather_batch(const Dataset& dataset, const Tensor& indices, Rng* flip) {
  constexpr const char* op = "gather_batch";
  const profile::Scope scope("batch");
  const Tensor& images = dataset.images;
  expect_rank(op, "images", images, 4);
  expect_dtype(op, "images", images, DType::u8);
  expect_rank(op, "indices", indices, 1);
  expect_device(op, images, {{"indices", indices}});
  if (flip != nullptr) expect_device(op, images, {{"flip's step", flip->bound_step()}});
  const std::int64_t batch = indices.size(0);
  expect_integers(op, "indices", indices, batch, images.size(0));
  Tensor x0 = Tensor::empty(images.shape().with(0, batch), DType::f32, images.device());
  kernel::ImageBatch::Args args{};
  args.images = images.data<std::uint8_t>();
  args.indices = indices.data<std::int64_t>();
  args.x0 = x0.mutable_data<float>();
  args.count = images.size(0);
  args.batch = batch;
  args.height = images.size(1);
  args.width = images.size(2);
  args.channels = images.size(3);
  args.flip = flip != nullptr;
  if (flip != nullptr) args.flips = next_stream(*flip);
  launch<kernel::ImageBatch>(x0.device(), args);
  return x0;
}

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
  const auto batch = static_cast<std::int64_t>(indices.size());
  return gather_batch(dataset, Tensor::from(indices, {batch}).to(dataset.images.device()), flip);
}

Tensor gather_labels(const Dataset& dataset, const std::vector<std::int64_t>& indices) {
  if (!dataset.labels.defined()) {
    fail<ValueError>("gather_labels: the data set {} has no labels", dataset.name);
  }
  check_range("gather_labels", "indices", indices, dataset.count());
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
  const Tensor source = images.to(Device::cpu());
  Tensor x = Tensor::empty(source.shape());
  const std::uint8_t* from = source.data<std::uint8_t>();
  float* to = x.mutable_data<float>();
  for (std::int64_t i = 0; i < source.numel(); ++i) to[i] = kernel::from_byte(from[i]);
  return x;
}

}  // namespace ito::data
