// Softmax over one axis.
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// exp(x - max) / sum(exp(x - max)) along `axis`. Differentiates any number of times.
Tensor softmax(const Tensor& x, int axis = -1);

}  // namespace ito
