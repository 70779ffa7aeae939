// Convolution with 3x3 taps and stride 1, and its gradients, by Winograd's algorithm on the CPU:
// what conv_plan.h chooses. For f32 and f64; m is 2 or 4.
#pragma once

#include "tensor/kernels/conv.h"
#include "tensor/kernels/conv_correlation.h"

namespace ito::kernel {

/// The sums of a correlation with kh = kw = 3, stride 1 and a dense y, by F(m x m, 3x3). In f32 the
/// root of the mean of squared errors is 1e-6 of that of y for m = 4, half of that for m = 2 and
/// for direct sums.
template <class T>
void correlate_winograd(const Correlation<T>& c, int m);

/// In f32 its rounding errors are those of the direct sums, 1e-6 of the norm of dw and less,
/// because it sums in shorter stretches.
void conv2d_weight_grad_winograd(const Conv2dWeightGrad::Args& args, int m);

}  // namespace ito::kernel
