// Root-mean-square normalisation (Zhang & Sennrich 2019, arXiv 1910.07467).
//
//   Tensor y = rms_norm(x, weight);   // x [N, L, C], weight [C]
//
// Unlike group_norm it takes no mean away and has no bias.
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// y = x / sqrt(mean(x^2) + eps) * weight, the mean over the last axis (eq. 4).
///   x [..., C], weight [C]; returns the shape of x.
/// Differentiates any number of times. Throws ShapeError, DTypeError, DeviceError.
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps = 1e-6);

}  // namespace ito
