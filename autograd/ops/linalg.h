// Matrix products.
//
//   const Tensor y = linear(x, weight, bias);      // x [N, in], weight [out, in], bias [out]
//   const Tensor z = matmul(x, weight, false, true) + bias;      // the same
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// Product of the last two axes, op(a) op(b), where op transposes when its flag is set.
///   a  [..., M, K] (or [..., K, M] with transpose_a)
///   b  [..., K, N] (or [..., N, K] with transpose_b)
///   returns [..., M, N]
/// Leading axes must be equal, or one operand has rank 2 and serves every batch.
/// Differentiates any number of times: its gradients are matmuls.
/// Throws ShapeError, DTypeError, DeviceError.
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false);

/// x weight^T + bias.
///   x [..., in], weight [out, in], bias [out] or undefined; returns [..., out].
/// Differentiates any number of times.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace ito
