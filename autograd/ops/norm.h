// Group normalisation (Wu & He 2018, arXiv 1803.08494).
//
//   const Tensor weight = Tensor::full({64}, 1.0), bias = Tensor::zeros({64});
//   const Tensor y = group_norm(x, /*groups=*/32, weight, bias);      // x, y [N, H, W, 64]
//   const Tensor z = group_norm_silu(x, 32, weight, bias);            // silu(y)
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// Normalises each sample's groups of neighbouring channels to mean 0 and variance 1 over positions
/// and the group's channels, then scales and shifts each channel:
///   y = (x - mean) / sqrt(var + eps) * weight + bias
///   x [N, ..., C], weight [C], bias [C]; returns the shape of x. groups must divide C.
/// Fused; differentiates any number of times through its reference. Throws ShapeError, ValueError.
Tensor group_norm(const Tensor& x, int groups, const Tensor& weight, const Tensor& bias,
                  double eps = 1e-6);

/// silu(group_norm(x)) in one pass, the pair that a diffusion U-Net uses everywhere. As group_norm.
Tensor group_norm_silu(const Tensor& x, int groups, const Tensor& weight, const Tensor& bias,
                       double eps = 1e-6);

/// group_norm_silu(concat({x, x2}), groups, weight, bias, eps) without writing the concatenation:
/// the kernels read two arrays, and a group may have channels of both.
///   x [N, ..., A], x2 [N, ..., B], weight and bias [A + B]. Otherwise as group_norm_silu.
Tensor group_norm_silu_concat(const Tensor& x, const Tensor& x2, int groups, const Tensor& weight,
                              const Tensor& bias, double eps = 1e-6);

}  // namespace ito
