// The rungs of AdamStep, for tests and benchmarks; kernel::AdamStep::cuda takes the last.
#pragma once

#include "tensor/kernels/optimizer.h"

namespace ito::cuda {

/// Rung 2: everything in one kernel, an element per thread and turn.
void adam_fused(const kernel::AdamStep::Args&);
/// Rung 3: the same in vectors of 16 bytes. Falls back to rung 2 for pointers that are not aligned.
void adam_vectors(const kernel::AdamStep::Args&);

}  // namespace ito::cuda
