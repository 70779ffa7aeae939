// Batches for training: which images, in which order, and as which numbers.
//
//   const data::Dataset train = data::load_cifar10("cifar-10-batches-bin", data::Split::train);
//   const data::BatchSampler sampler(train.count(), /*batch=*/64, seed);
//   Rng flips(seed, Purpose::augment);
//   for (std::int64_t step = 0; step < steps; ++step) {
//     flips.seek(step);
//     const Tensor x0 = data::gather_batch(train, sampler.indices_at(step), &flips);
//   }                                                        // f32 [64, 32, 32, 3]
//
// Nothing is remembered between steps: a resumed run asks for its step and sees what it would have
// seen.
//
// With the data set on a device a batch is one kernel there:
//
//   const data::Dataset there = train.to(Device::cuda());                      // bytes: 154 MB
//   Tensor indices = Tensor::empty({64}, DType::i64, Device::cuda());      // filled every step
//   const Tensor x0 = data::gather_batch(there, indices, &flips);
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "data/dataset.h"
#include "tensor/rng.h"

namespace ito::data {

/// The order in which a run sees n images. The run is one endless sequence of places: place p is
/// image order(e)[p mod n], with e = p / n the epoch and order(e) a random permutation drawn from
/// (seed, e). Step s takes the places [s * batch, (s + 1) * batch). When n is no multiple of the
/// batch, a batch therefore finishes one epoch and begins the next; every image is seen exactly
/// once per epoch, and the sequence is the same for every batch size.
class BatchSampler {
 public:
  /// Throws ValueError unless 1 <= batch <= n.
  BatchSampler(std::int64_t n, std::int64_t batch, std::uint64_t seed);

  /// Indices of the images of a step, >= 0; a pure function of (n, batch, seed, step).
  std::vector<std::int64_t> indices_at(std::int64_t step) const;
  /// The epoch in which the step begins, and how many of its images were seen before.
  std::int64_t epoch_at(std::int64_t step) const { return step * batch_ / n_; }
  std::int64_t cursor_at(std::int64_t step) const { return step * batch_ % n_; }
  /// The same for an epoch: all n indices in the order in which it visits them.
  std::vector<std::int64_t> order(std::int64_t epoch) const;

  std::int64_t count() const { return n_; }
  std::int64_t batch() const { return batch_; }

 private:
  const std::vector<std::int64_t>& cached_order(std::int64_t epoch) const;

  std::int64_t n_, batch_;
  std::uint64_t seed_;
  // The last two orders asked for: a batch can lie in two epochs. Not to be shared between threads.
  struct Cached {
    std::int64_t epoch = -1;
    std::vector<std::int64_t> order;
  };
  mutable Cached cache_[2];
};

/// x = image / 127.5 - 1 for the images at `indices`: f32 [B, H, W, C] in [-1, 1], on the device of
/// the images. With `flip`, image i of the batch is mirrored left to right when draw i of the
/// generator, uniform in [0, 1), is below 1/2; that depends on its sample number only, so batches
/// may be split. Throws ValueError for an index outside the set.
Tensor gather_batch(const Dataset& dataset, const std::vector<std::int64_t>& indices,
                    Rng* flip = nullptr);
inline Tensor gather_batch(const Dataset& dataset, std::initializer_list<std::int64_t> indices,
                           Rng* flip = nullptr) {
  return gather_batch(dataset, std::vector<std::int64_t>(indices), flip);
}
/// The same from indices in a tensor, i64 [B] on the device of the images. May stand in a recorded
/// graph (tensor/cuda_graph.h), where indices cannot be looked at: one outside gives an image of
/// NaN.
Tensor gather_batch(const Dataset& dataset, const Tensor& indices, Rng* flip = nullptr);

/// The labels at `indices`: i64 [B] on the CPU. Throws ValueError without labels or outside the
/// set.
Tensor gather_labels(const Dataset& dataset, const std::vector<std::int64_t>& indices);

/// f32 in [-1, 1] to bytes: (x + 1) * 127.5 to nearest, clamped to [0, 255]; NaN becomes 0. Any
/// shape, any device; the result is on the CPU. The inverse of gather_batch. Throws DTypeError.
Tensor to_bytes(const Tensor& images);
/// Bytes to f32 in [-1, 1], any shape, any device; the result is on the CPU.
Tensor from_bytes(const Tensor& images);

}  // namespace ito::data
