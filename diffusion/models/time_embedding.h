// The timestep as a vector that a network can use.
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// Sines, then cosines, of t at frequencies that fall geometrically from 1 to 1 / 10000:
///   f_i = 10000^(-i / (dim / 2 - 1));  y[n, i] = sin(t[n] f_i),  y[n, dim / 2 + i] = cos(t[n] f_i)
/// (Vaswani et al. 2017, section 3.5, in the arrangement of Ho et al. 2020).
///   t i64 [N], dim even and >= 4; returns [N, dim] in `dtype` on t's device.
/// Computed in double precision and rounded (to bf16 by way of f32): in f32 the argument of a sine
/// near t = 1000 is off by up to 3e-5. Reads nothing back from the device.
/// Throws ShapeError, DTypeError, ValueError.
Tensor sinusoidal_embedding(const Tensor& t, std::int64_t dim, DType dtype = DType::f32);

}  // namespace ito
