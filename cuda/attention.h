// The rungs of attention's ladder, forward and gradient. kernel::Attention::cuda and
// kernel::AttentionGrad::cuda take the best that accepts the arguments; tests and benchmarks call
// each. With l queries, s keys, d channels per head, all per sample and head:
//
//   rung         forward FLOPs   gradient FLOPs   reads of k and v     needs
//   naive        4 l s d         12+ l s d        once per query       nothing
//   tiled        4 l s d         14 l s d         once per 32 queries  d <= 256
//   tensor_core  4 l s d         14 to 16 l s d   once per 64 queries  bf16, d <= 256, 8 | d
//
// No rung stores the l x s scores; the gradient computes them again from the row's log-sum-exp.
// Every result is a sum in a fixed order: the same call gives the same bits.
#pragma once

#include "tensor/kernels/attention.h"

namespace ito::cuda::attention {

using Forward = kernel::Attention::Args;
using Gradient = kernel::AttentionGrad::Args;

/// One warp per query (dq: per query; dk, dv: per key). Any shape, f32 and bf16.
void naive(const Forward&);
void naive(const Gradient&);

/// Blocks of k and v in shared memory, online softmax, f32 arithmetic. f32 and bf16.
void tiled(const Forward&);
void tiled(const Gradient&);
bool can_use_tiled(const Forward&);
bool can_use_tiled(const Gradient&);

/// The same blocks through mma.sync, ldmatrix and cp.async. bf16.
void tensor_core(const Forward&);
void tensor_core(const Gradient&);
bool can_use_tensor_core(const Forward&);
bool can_use_tensor_core(const Gradient&);

/// dy_dot_y[row] = sum over d of dy y, for the rows [n, heads, l]: what the softmax's gradient
/// subtracts. One warp per row.
void row_dots(const Gradient&, float* dy_dot_y);

}  // namespace ito::cuda::attention
