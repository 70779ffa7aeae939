// Cache of prepacked weights: what CPU kernels make of a weight before they use it (reordered,
// transformed), kept from call to call.
//
// A convolution of many pixels hides the time in which its weights are packed; one of few does not:
// a third of the time to draw one image goes there. Between the steps of a sampler the weights do
// not change, so a kernel looks in `packed` of its Args first:
//
//   const PackedWeight<T> w(args.packed, {PackedWeights::product, k, n}, size, [&](T* to) { ... });
//   use(w.data());
//
// Without `packed` (null, as in training) the weight is packed into scratch memory by each call.
// autograd/packed_weights.h decides whose packed weights are kept, and until when they hold.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "tensor/kernels/scratch.h"

namespace ito::kernel {

/// The packed copies of one weight.
class PackedWeights {
 public:
  /// What a copy depends on besides the weight: two with one key are the same. Begins with the
  /// kernel that packed it.
  using Key = std::array<std::int64_t, 10>;
  enum Packer : std::int64_t { correlation, pointwise, product, upsample2x, winograd };

  /// The copy, or null when there is none yet.
  std::shared_ptr<void> find(const Key& key) const {
    for (const auto& [known, copy] : copies_) {
      if (known == key) return copy;
    }
    return nullptr;
  }
  void add(const Key& key, std::shared_ptr<void> copy) {
    copies_.emplace_back(key, std::move(copy));
  }

 private:
  std::vector<std::pair<Key, std::shared_ptr<void>>>
      copies_;  // few: one for each kernel that reads it
};

/// `count` elements that make(T* to) writes, from `packed` where they are there already.
template <class T>
class PackedWeight {
 public:
  template <class Make>
  PackedWeight(PackedWeights* packed, const PackedWeights::Key& key, std::int64_t count,
               const Make& make) {
    if (packed != nullptr) copy_ = std::static_pointer_cast<Scratch<T>>(packed->find(key));
    if (copy_ != nullptr) return;
    copy_ = std::make_shared<Scratch<T>>(count);
    make(copy_->data());
    if (packed != nullptr) packed->add(key, copy_);
  }
  const T* data() const { return copy_->data(); }

 private:
  std::shared_ptr<Scratch<T>> copy_;
};

}  // namespace ito::kernel
