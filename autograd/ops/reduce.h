// Reductions over axes. `axes`: all when empty; negative ones count from the end. With `keep_dims`
// the reduced axes stay with size 1. All throw ShapeError on an axis outside the rank or given
// twice.
//
//   const Tensor total = sum(x);                      // x [N, H, W, C], a scalar
//   const Tensor of_channels = mean(x, {1, 2});       // [N, C]
//   const Tensor centred = x - mean(x, {-1}, true);   // the mean is [N, H, W, 1] and broadcasts
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace ito {

/// The order of additions is fixed by the shape. Differentiates any number of times.
Tensor sum(const Tensor& x, std::vector<int> axes = {}, bool keep_dims = false);
/// Differentiates any number of times. Throws ShapeError when there is nothing to average.
Tensor mean(const Tensor& x, std::vector<int> axes = {}, bool keep_dims = false);
/// The mean over all axes but the first, of each sample of a batch: [N, ...] to [N].
Tensor mean_flat(const Tensor& x);
/// The gradient is shared equally among equal maxima. Throws ShapeError on empty axes.
Tensor max(const Tensor& x, std::vector<int> axes = {}, bool keep_dims = false);
/// log sum exp, without overflow. Differentiates any number of times.
Tensor logsumexp(const Tensor& x, std::vector<int> axes = {}, bool keep_dims = false);

}  // namespace ito
