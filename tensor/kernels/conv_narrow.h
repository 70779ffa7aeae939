// Convolutions with very few channels on one side, such as the first and the last layer of a
// network for images: the kernels of conv.cpp and conv_weight_grad.cpp would leave most of a vector
// empty.
//
// What makes them fast is one rearrangement (cf. Anderson, Vasudevan, Keane and Gregg, "Low-memory
// GEMM-based convolution algorithms for deep neural networks", 2017): taps and narrow channels
// together are the columns of a plain matrix product (gemm.h), 9 or 27 of them for 3x3.
//
//   few outputs       z[h, w, (r, s, o)] = sum over i of x[h, w, i] weight(o, r, s, i)
//                     y[p, q, o] = bias[o] + sum over r, s of z[p + r - top, q + s - left, (r, s,
//                     o)]
//   weight gradient   d[j, (r, s, k)] = sum over pixels of wide[pixel, j] narrow[pixel + (r, s), k]
//
// The product costs in x columns multiply-adds per pixel, rounded up to whole vectors of columns;
// the shifted sums and the gathering of `narrow` cost one load per column. All at stride 1.
#pragma once

#include "tensor/kernels/conv.h"
#include "tensor/kernels/conv_correlation.h"

namespace ito::kernel {

/// True where correlate_narrow takes less time than the tiles of conv.cpp.
template <class T>
bool has_few_outputs(const Correlation<T>& c);

/// y of a correlation with few outputs, stride 1, x in one array.
template <class T>
void correlate_narrow(const Correlation<T>& c);

/// True where weight_grad_narrow takes less time than the tiles of conv_weight_grad.cpp.
template <class T>
bool has_few_channels(const ConvShape& s);

/// The gradient of a convolution to its weight where inputs or outputs are few. Arrays as in
/// Conv2dWeightGrad.
template <class T>
void weight_grad_narrow(const ConvShape& s, const T* x, const T* dy, T* dw);

}  // namespace ito::kernel
