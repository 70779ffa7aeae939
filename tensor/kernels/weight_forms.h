// What CPU kernels make of a weight before they use it (packed, transformed), kept from call to
// call.
//
// A convolution of many pixels hides the time in which its weights are put in order; one of few
// does not: a third of the time to draw one image goes there. Between the steps of a sampler
// the weights do not change, so a kernel finds what it made of them in the `forms` of its Args:
//
//   const WeightForm<T> packed(args.forms, {WeightForms::product, k, n}, size, [&](T* to) { ... });
//   use(packed.data());
//
// Without `forms` (null, as in training) it is scratch memory, made anew by each call. Whose forms
// they are and until when they hold is decided in autograd/kept_weights.h.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "tensor/kernels/scratch.h"

namespace ito::kernel {

/// The forms of one weight.
class WeightForms {
 public:
  /// What a form depends on besides the weight: two forms with one key are the same. Begins with
  /// who made it.
  using Key = std::array<std::int64_t, 10>;
  enum Maker : std::int64_t { correlation, pixels, product, doubling, winograd };

  /// The form, or null when it was not made yet.
  std::shared_ptr<void> find(const Key& key) const {
    for (const auto& [known, form] : forms_) {
      if (known == key) return form;
    }
    return nullptr;
  }
  void add(const Key& key, std::shared_ptr<void> form) {
    forms_.emplace_back(key, std::move(form));
  }

 private:
  std::vector<std::pair<Key, std::shared_ptr<void>>>
      forms_;  // few: one for each kernel that reads it
};

/// `count` elements that make(T* to) writes, from `forms` where they are there already.
template <class T>
class WeightForm {
 public:
  template <class Make>
  WeightForm(WeightForms* forms, const WeightForms::Key& key, std::int64_t count,
             const Make& make) {
    if (forms != nullptr) form_ = std::static_pointer_cast<Scratch<T>>(forms->find(key));
    if (form_ != nullptr) return;
    form_ = std::make_shared<Scratch<T>>(count);
    make(form_->data());
    if (forms != nullptr) forms->add(key, form_);
  }
  const T* data() const { return form_->data(); }

 private:
  std::shared_ptr<Scratch<T>> form_;
};

}  // namespace ito::kernel
