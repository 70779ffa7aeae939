// All parameters of a model in one buffer, and their gradients in another, so that the optimiser,
// EMA, clipping and (later) all-reduce are one pass each over contiguous memory.
//
//   nn::FlatParameters flat(unet);           // the network's tensors now live inside flat.master
//   nn::Adam adam(flat);
//   for (int i = 0; i < steps; ++i) {
//     flat.zero_grad();
//     backward(mse(unet(x_t, t), eps));      // adds to p.grad(), views into flat.grads
//     adam.step(lr);
//   }
//
// Mixed precision: nn::FlatParameters flat(unet, Device::cuda(), DType::bf16) gives the network
// parameters and gradients in bf16, while `master` stays the f32 that is trained: an update below
// 2^-8 of a parameter is lost in bf16, but adds up in f32 (Micikevicius et al. 2017,
// arXiv 1710.03740, section 3.1). Files hold `master`, so they do not depend on the device or
// dtype.
//
// A FlatParameters is a handle: copies share the buffers. Build it once, before optimisers, and do
// not replace the model's tensors or their gradients afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nn/module.h"

namespace ito::nn {

struct FlatParameters {
  struct Entry {
    std::string name;
    Shape shape;
    std::int64_t offset;  ///< elements from the start of the buffer; a multiple of 16
  };

  Tensor master;  ///< [n], all parameters and, between them, zeros for alignment
  Tensor model;   ///< [n], where the model's tensors live: `master`, or the same rounded to bf16
  Tensor grads;   ///< [n], the gradients, in the dtype of `model`
  std::vector<Entry> entries;

  /// Moves every parameter of the module, with its elements, into one buffer on `device`; every
  /// copy of the handles follows. Gradients start at zero. `model_dtype`: what the model computes
  /// in, that of its parameters unless given; only f32 parameters can be worked with in another,
  /// which is bf16.
  template <Module M>
  explicit FlatParameters(M& module, Device device = Device::cpu(),
                          std::optional<DType> model_dtype = {})
      : FlatParameters(named_parameters(module), device, model_dtype) {}
  /// The same for a list. Throws DTypeError when dtypes differ or cannot be combined, ValueError
  /// when the list is empty, a name comes twice or two names are one tensor.
  explicit FlatParameters(std::vector<NamedTensor> parameters, Device device = Device::cpu(),
                          std::optional<DType> model_dtype = {});

  void zero_grad() { grads.fill(0.0); }
  /// Whether the model computes in another dtype than `master` has.
  bool mixed() const { return model.dtype() != master.dtype(); }
  /// Makes the model compute with `source`, laid out like `master`: copies it, rounded, to
  /// `model`. After a change of `master` that is not an optimiser's, call load_model(master).
  void load_model(const Tensor& source);

  /// Number of elements of all parameters, without the alignment.
  std::int64_t count() const;
  /// Named views of a buffer laid out like `master`: of master, grads, or an optimiser's state.
  /// They share its elements. For saving and loading. Throws ShapeError for another length.
  std::vector<NamedTensor> views(const Tensor& buffer) const;
};

}  // namespace ito::nn
