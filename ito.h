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

#include "autograd/engine.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/conv.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/loss.h"
#include "autograd/ops/norm.h"
#include "autograd/ops/random.h"
#include "autograd/ops/reduce.h"
#include "autograd/ops/resample.h"
#include "autograd/ops/softmax.h"
#include "tensor/rng.h"
#include "tensor/tensor.h"
