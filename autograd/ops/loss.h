// Losses: scalars (rank 0) to call backward on.
//
//   backward(mse(unet(x_t, t), eps));                         // as a diffusion model is trained
//   backward(cross_entropy(classifier(x_t, t), labels));      // labels i64 [N]
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// mean((a - b)^2) over all elements; a and b have one shape. Differentiates any number of times.
Tensor mse(const Tensor& a, const Tensor& b);

/// Mean over the rows of -log softmax(logits)[label].
///   logits [N, classes], labels i64 [N] in [0, classes). Throws ValueError on a label outside.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels);

}  // namespace ito
