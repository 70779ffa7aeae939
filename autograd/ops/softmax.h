// Softmax over one axis.
//
//   const Tensor p = softmax(classifier(x_t, t));   // logits [N, classes]; rows add up to 1
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// exp(x - max) / sum(exp(x - max)) along `axis`. Differentiates any number of times.
Tensor softmax(const Tensor& x, int axis = -1);

}  // namespace ito
