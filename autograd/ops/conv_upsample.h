// Nearest upsampling and a convolution in one: the upsampled image is never written, and each
// output pixel sums 2 x 2 taps of the small image instead of 3 x 3 of the large one, because taps
// that fall on the same pixel share it. The weights are summed beforehand.
//
//   const Tensor y = upsample_conv2d(x, weight, bias, 2, Padding(1));
//   // = conv2d(upsample_nearest(x, 2), weight, bias, {.padding = 1})
#pragma once

#include "autograd/ops/conv.h"

namespace ito {

/// conv2d(upsample_nearest(x, factor), weight, bias, {.padding = padding}).
///   x [N, H, W, I], weight [O, kh, kw, I], bias [O] or undefined
///   returns [N, P, Q, O], P = factor H + top + bottom - kh + 1, Q likewise.
/// The sums of weights are rounded to their dtype. Differentiates any number of times. Throws
/// ShapeError as conv2d; ValueError: factor < 1, padding that is negative or not smaller than the
/// kernel.
Tensor upsample_conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                       int factor = 2, const Padding& padding = {});

/// The weights of the convolution at stride `factor` whose transpose upsamples and convolves
/// (tensor/kernels/conv_upsample.h has the sum).
///   weight [O, kh, kw, I]; returns [I, kh + factor - 1, kw + factor - 1, O].
Tensor fold_upsampling(const Tensor& weight, int factor = 2);

/// Its gradient, which is linear as well: folded [I, kh + factor - 1, kw + factor - 1, O] to
/// [O, kh, kw, I].
Tensor fold_upsampling_grad(const Tensor& dfolded, int factor = 2);

}  // namespace ito
