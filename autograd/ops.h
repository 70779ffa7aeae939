// Every differentiable function, in one include. tests/ops/ has a row for each.
//
//   #include "autograd/ops.h"
//   const Tensor y = softmax(matmul(x, w));
#pragma once

#include "autograd/ops/attention.h"
#include "autograd/ops/conv.h"
#include "autograd/ops/conv_upsample.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/loss.h"
#include "autograd/ops/norm.h"
#include "autograd/ops/quantile.h"
#include "autograd/ops/random.h"
#include "autograd/ops/reduce.h"
#include "autograd/ops/resample.h"
#include "autograd/ops/softmax.h"
