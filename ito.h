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
#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "autograd/packed_weights.h"
#include "data/data.h"
#include "diffusion/diffusion.h"
#include "nn/nn.h"
#include "tensor/cuda_graph.h"
#include "tensor/memory.h"
#include "tensor/parallel.h"
#include "tensor/profile.h"
#include "tensor/profile_report.h"
#include "tensor/rng.h"
#include "tensor/tensor.h"
#include "tensor/version.h"
