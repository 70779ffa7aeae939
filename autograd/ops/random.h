// Ops with random numbers. Each takes an explicit Rng&.
#pragma once

#include "tensor/rng.h"

namespace ito {

/// Zeroes each element with probability p and divides the others by 1 - p (Srivastava et al. 2014).
/// The mask is a function of the generator's state, kept for the gradient. p = 0 returns x. Throws
/// ValueError unless 0 <= p < 1.
Tensor dropout(const Tensor& x, double p, Rng& rng);

}  // namespace ito
