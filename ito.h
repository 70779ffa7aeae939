// ito: tensors, autograd and diffusion models. This header includes the whole library.
//
//   #include "ito.h"
//   using namespace ito;
//   Tensor w = parameter(Tensor::full({3}, 2.0));
//   backward(sum(square(w)));                        // w.grad() == {4, 4, 4}
//
// tensor computes, autograd differentiates, nn composes, diffusion applies; data reads and writes.
// Programs that need less include less: every header stands alone.
#pragma once

