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
#include "autograd/ops/attention.h"
#include "autograd/ops/conv.h"
#include "autograd/ops/conv_upsample.h"
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
#include "data/batch.h"
#include "data/dataset.h"
#include "data/describe.h"
#include "data/png.h"
#include "diffusion/gaussian_diffusion.h"
#include "diffusion/models/time_embedding.h"
#include "diffusion/models/unet.h"
#include "diffusion/prediction.h"
#include "diffusion/samplers.h"
#include "diffusion/schedule.h"
#include "nn/adam.h"
#include "nn/attention.h"
#include "nn/checkpoint.h"
#include "nn/ema.h"
#include "nn/finite.h"
#include "nn/flat.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "nn/lr_schedule.h"
#include "nn/module.h"
#include "nn/safetensors.h"
#include "nn/step_history.h"
#include "tensor/graph.h"
#include "tensor/memory.h"
#include "tensor/parallel.h"
#include "tensor/rng.h"
#include "tensor/tensor.h"
