// Convolution with 3x3 taps and stride 1, and its gradients, by Winograd's algorithm. What
// conv_plan.h chooses; the arguments are those of the contracts in conv.h, m is 2 or 4.
#pragma once

#include "tensor/kernels/conv.h"

namespace ito::kernel {

void conv2d_winograd(const Conv2d::Args& args, int m);
void conv2d_input_grad_winograd(const Conv2dInputGrad::Args& args, int m);

}  // namespace ito::kernel
