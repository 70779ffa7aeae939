// The gradient of a 3x3 convolution to its weight by Winograd's algorithm, on the CPU.
#pragma once

#include "tensor/kernels/conv.h"

namespace ito::kernel {

/// The m with which Winograd's algorithm is the faster one for f32, 2 or 4; 0 where the direct one
/// is.
int winograd_weight_grad_outputs(const ConvShape& shape);

/// Conv2dWeightGrad for kh = kw = 3, stride 1 and f32 or f64, with tiles of m x m pixels of dy, m = 2
/// or 4. With m = 4 in f32 its rounding errors are those of the direct sums, 1e-6 of the norm of dw and
/// less, because they are summed in shorter stretches.
void conv2d_weight_grad_winograd(const Conv2dWeightGrad::Args& args, int m);

}  // namespace ito::kernel
