// Denoising autoencoders: one noise level, and what a network learns from it. A network that
// removes noise from data has learned the score of the noisy data, which is where diffusion models
// begin.
//
//   const DenoisingAutoencoder dae{.sigma = 0.3};
//   const Reconstruction r = [&](const Tensor& x) { return unet(x, t); };
//   backward(dae.loss(r, x0, randn(rng, x0.shape())));
//   const Tensor s = dae.score(r, x);                   // of log p_sigma at x
//
// x0, x, eps: [N, ...] in f32 or f64. p_sigma is the density of x = x0 + sigma eps.
#pragma once

#include <functional>

#include "tensor/tensor.h"

namespace ito {

/// r: noisy x to an estimate of x0, of the same shape.
using Reconstruction = std::function<Tensor(const Tensor& x)>;

struct DenoisingAutoencoder {
  double sigma = 1.0;  ///< above 0

  /// mean |r(x0 + sigma eps) - x0|^2, a scalar. It is least at the mean of x0 given x, which is
  /// r*(x) = x + sigma^2 grad log p_sigma(x): Tweedie's formula.
  Tensor loss(const Reconstruction& r, const Tensor& x0, const Tensor& eps) const;

  /// (r(x) - x) / sigma^2: Tweedie's formula, solved for the score (Vincent 2011, "A connection
  /// between score matching and denoising autoencoders", eq. 12).
  Tensor score(const Reconstruction& r, const Tensor& x) const;
};

}  // namespace ito
