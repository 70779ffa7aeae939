// The kernel distance between two sets of features, KID (Bińkowski et al. 2018, arXiv 1801.01401).
//
//   const Tensor real = classifier.features(images), made = classifier.features(samples);
//   const KernelDistance kid = kernel_distance(real, made);      // "0.0123 +- 0.0009"
//
// The squared maximum mean discrepancy with the kernel k(x, y) = (x y / D + 1)^3: how far apart the
// first three moments are. Unlike the Fréchet distance its expectation does not depend on the
// number of features, and is 0 for two sets from one distribution; a single value may then be
// negative.
#pragma once

#include "tensor/tensor.h"

namespace ito {

struct KernelDistance {
  double value;           ///< unbiased
  double standard_error;  ///< to first order in 1 / n; near a distance of 0 only its size is right
};

/// Of features a [n, D] and b [m, D], f32 or f64, on any device; computed in f64 on the CPU. Throws
/// ValueError when n or m < 2, ShapeError, DTypeError.
KernelDistance kernel_distance(const Tensor& a, const Tensor& b);

}  // namespace ito
