// From the last normal step of the reverse process, p(x_0 | x_1) = N(mean, sigma^2 I), to the
// probability of an image whose pixels are one of 256 levels (Ho et al. 2020, section 3.3).
//
//   const Tensor mean = x0 + 0.01 * eps;
//   const Tensor log_variance = Tensor::full(x0.shape(), -9.0);
//   const Tensor nats = -sum(decoder_log_probability(x0, mean, log_variance,
//   DiscretizedLikelihood::tanh_bins));
//
// Level k of 0 .. 255 is the number k / 127.5 - 1 and owns the interval of +-1/255 around it; the
// first and the last interval are open, so that the probabilities of the 256 levels add up to 1.
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// tanh_bins   bins, with Phi(x) = (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 as in the
///             programs of the papers; it is within 3e-4 of the normal distribution
/// erf_bins    bins, with Phi itself
/// continuous  the normal density, for data that have no levels
enum class DiscretizedLikelihood { tanh_bins, erf_bins, continuous };

/// log p(x0) of each element, in nats: a probability, at least 1e-12, or the density. The three
/// broadcast against each other, are of one floating dtype and differentiated. With tanh_bins small
/// probabilities keep their relative precision.
Tensor decoder_log_probability(const Tensor& x0, const Tensor& mean, const Tensor& log_variance,
                               DiscretizedLikelihood decoder);

}  // namespace ito
