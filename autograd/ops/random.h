// Ops with random numbers. Each takes an explicit Rng&.
//
//   Rng rng(42, Purpose::dropout);
//   rng.seek(step);                              // other elements in every step of training
//   const Tensor y = dropout(x, 0.1, rng);
#pragma once

#include "tensor/rng.h"

namespace ito {

/// Zeroes each element with probability p and divides the others by 1 - p (Srivastava et al. 2014).
/// The mask is a function of the generator's state, kept for the gradient. p = 0 returns x. Throws
/// ValueError unless 0 <= p < 1.
Tensor dropout(const Tensor& x, double p, Rng& rng);

}  // namespace ito
