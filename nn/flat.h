// All parameters of a model in one buffer, and their gradients in another, so that the optimiser,
// EMA, clipping and (later) all-reduce are one pass each over contiguous memory.
//
//   nn::FlatParameters flat(model);          // the model's tensors now live inside flat.values
//   nn::Adam adam(flat);
//   ...
//   flat.zero_grad();
//   backward(loss);                          // adds to p.grad(), views into flat.grads
//   adam.step(lr);
//
// A FlatParameters is a handle: copies share both buffers. Build it once, before optimisers, and do
// not replace the model's tensors or their gradients afterwards.
#pragma once

#include <cstdint>
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

  Tensor values;  ///< [n], all parameters and, between them, zeros for alignment
  Tensor grads;   ///< [n], the same for the gradients
  std::vector<Entry> entries;

  /// Moves every parameter of the module, with its elements, into one buffer on `device`; every
  /// copy of the handles follows. Gradients start at zero.
  template <Module M>
  explicit FlatParameters(M& module, Device device = Device::cpu())
      : FlatParameters(named_parameters(module), device) {}
  /// The same for a list. Throws DTypeError when dtypes differ, ValueError when the list is empty,
  /// a name comes twice or two names are one tensor.
  explicit FlatParameters(std::vector<NamedTensor> parameters, Device device = Device::cpu());

  void zero_grad() { grads.fill(0.0); }

  /// Number of elements of all parameters, without the alignment.
  std::int64_t count() const;
  /// Named views of a buffer laid out like `values`: of values, grads, or an optimiser's state.
  /// They share its elements. For saving and loading. Throws ShapeError for another length.
  std::vector<NamedTensor> views(const Tensor& buffer) const;
};

}  // namespace ito::nn
