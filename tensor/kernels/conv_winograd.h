// Convolution with 3x3 taps and stride 1, and its gradients, by Winograd's algorithm. What
// conv_plan.h chooses; the arguments are those of the contracts in conv.h, m is 2 or 4.
#pragma once

#include "tensor/kernels/conv.h"

namespace ito::kernel {

void conv2d_winograd(const Conv2d::Args& args, int m);
void conv2d_input_grad_winograd(const Conv2dInputGrad::Args& args, int m);
/// In f32 its rounding errors are those of the direct sums, 1e-6 of the norm of dw and less, because
/// it sums in shorter stretches.
void conv2d_weight_grad_winograd(const Conv2dWeightGrad::Args& args, int m);

}  // namespace ito::kernel
