// What a kernel has to do at least: the yardstick that a profile (tensor/profile.h) measures it by.
//
// A contract may offer `static Cost cost(const Args&)`; one that does not is only timed.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace ito::kernel {

struct Cost {
  /// Operations of products, a multiply-add counting two, as the definition writes them: a
  /// convolution that gets by with fewer (Winograd) is credited with all of them, and those that
  /// meet the zeros around an image count too. 0 for kernels that only stream through memory.
  double flops = 0.0;
  /// Every input read once and every output written once.
  double bytes = 0.0;
};

inline double bytes_of(std::int64_t elements, DType dtype) {
  return static_cast<double>(elements) * static_cast<double>(size_of(dtype));
}

/// 2 a b c ...: the operations of a product over these extents.
template <class... Extents>
double product_flops(Extents... extents) {
  return (2.0 * ... * static_cast<double>(extents));
}

}  // namespace ito::kernel
