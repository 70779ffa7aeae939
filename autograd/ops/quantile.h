// Quantiles of rows.
//
//   const Tensor s = quantile(abs(reshape(x0, {x0.size(0), -1})), 0.995);   // x0 [N, ...], s [N]
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// The q-quantile of each row: with the row sorted and p = q (n - 1), the value at position p,
/// linear between its neighbours (Hyndman & Fan 1996, definition 7; numpy's default).
///   x [..., n]; returns [...]. A row with a NaN gives NaN.
/// The gradient goes to the neighbours of p, shared equally among equal elements. Differentiates
/// any number of times. Throws ShapeError for empty rows, ValueError unless 0 <= q <= 1.
Tensor quantile(const Tensor& x, double q);

}  // namespace ito
