// The rungs of group norm's ladder, forward and gradient. kernel::GroupNorm::cuda and
// kernel::GroupNormGrad::cuda take the best that accepts the arguments; tests and benchmarks call
// each. Memory traffic per element of x, in elements (y and dx written, the rest read):
//
//   rung        forward    gradient     block of threads             needs
//   naive       3 + 1      4 + 1        one group of one image       nothing
//   streaming   3 + 1      4 + 1        a slab of whole groups       a row of the slab <= 256
//               vectors
//   slab        1 + 1      2 + 1        the same, in shared memory   the slab fits there
//
// Statistics are f32 and come from two passes, mean first, so that a large mean does not cancel the
// variance. Every result is a sum in a fixed order: the same call gives the same bits.
#pragma once

#include "tensor/kernels/norm.h"

namespace ito::cuda::norm {

using Forward = kernel::GroupNorm::Args;
using Gradient = kernel::GroupNormGrad::Args;

/// One block per image and group, an element at a time. Any shape, f32 and bf16.
void naive(const Forward&);
void naive(const Gradient&);

/// A block takes one image's slab of channels: whole groups, vectors of 16 bytes where x allows.
/// x is read again from global memory (or the L2 cache) in each pass.
void streaming(const Forward&);
void streaming(const Gradient&);
bool can_use_streaming(const Forward&);
bool can_use_streaming(const Gradient&);

/// As streaming, with the slab kept in shared memory: one read and one write.
void slab(const Forward&);
void slab(const Gradient&);
bool can_use_slab(const Forward&);
bool can_use_slab(const Gradient&);

/// dbias and dweight: `partial`'s shares of the images, added in order.
void add_images(const Gradient&);

}  // namespace ito::cuda::norm
