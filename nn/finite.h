// Finding what went wrong first when a loss is NaN.
//
//   if (const auto bad = nn::find_non_finite(nn::named_parameters(unet)))
//     fmt::print("{}\n", bad->str());
//   // conv_in.weight f32[32, 3, 3, 1] on cpu: element 17 is nan
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nn/module.h"

namespace ito::nn {

struct NonFinite {
  std::string name;         ///< of the tensor
  std::int64_t index;       ///< of its first bad element, row-major
  double value;             ///< that element: inf, -inf or nan
  std::string str() const;  ///< "conv_in.weight f32[32, 3, 3, 1] on cpu: element 17 is nan"
  std::string tensor;       ///< "f32[32, 3, 3, 1] on cpu"
};

/// The first tensor of the list with an infinite or NaN element; empty when all are finite. Integer
/// tensors are finite.
///   find_non_finite(flat.views(flat.grads))
std::optional<NonFinite> find_non_finite(const std::vector<NamedTensor>& tensors);

}  // namespace ito::nn
