// BinomialDiffusion: diffusion of bits (Sohl-Dickstein et al. 2015, arXiv 1503.03585, appendix B).
// Each step replaces each bit, with probability beta_t, by the toss of a fair coin.
//
//   const BinomialDiffusion process{NoiseSchedule::jsd(50)};
//   const BitNetwork logits = std::cref(mlp);                    // of the bits of x_0
//   const Tensor x_t = process.add_noise(x0, t, rand(rng, x0.shape()));
//   backward(mean(process.bound_terms(logits, x0, x_t, t)));     // Algorithm 1, on bits
//   const Tensor x = process.sample(logits, {64, 20}, rng);
//
// Bits are the numbers 0 and 1 in f32 or f64, [N, ...]; t is i64 [N] from 0 as in schedule.h. The
// schedule is that of the Gaussian process: alpha_bar_t is the probability that no step up to t has
// tossed a coin for a bit. jsd(T) forgets an equal share of the bits in every step and all of them
// by the last. Divergences are in nats, with probabilities kept at 1e-12 or above.
#pragma once

#include <functional>

#include "diffusion/process/schedule.h"
#include "tensor/rng.h"

namespace ito {

/// (x_t, t) to the logits of the bits of x_0.
using BitNetwork = std::function<Tensor(const Tensor& x_t, const Tensor& t)>;

struct BinomialDiffusion {
  NoiseSchedule schedule;

  /// q(x_t = 1 | x_0) = alpha_bar_t x_0 + (1 - alpha_bar_t) / 2, of each bit.
  Tensor probability(const Tensor& x0, const Tensor& t) const;

  /// A draw from that, for uniform numbers of x0's shape.
  Tensor add_noise(const Tensor& x0, const Tensor& t, const Tensor& uniform) const;

  /// The probability that x_{t-1} = 1, given x_t and that x_0 = 1 has the probability p0. With the
  /// bits of x_0 for p0 it is q(x_{t-1} | x_t, x_0), by Bayes' rule; with a model's p0 it is the
  /// model's p(x_{t-1} | x_t).
  Tensor step_back(const Tensor& p0, const Tensor& x_t, const Tensor& t) const;

  /// KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) of each sample, summed over its bits: [N]. At
  /// t = 0 that is -log p(x_0 | x_1). T times the mean over t and x_t bounds -log p(x_0), up to
  /// prior_kl.
  Tensor bound_terms(const BitNetwork& model, const Tensor& x0, const Tensor& x_t,
                     const Tensor& t) const;

  /// KL(q(x_T | x_0) || coin tosses) per bit; 0 when alpha_bar ends at 0.
  double prior_kl() const;

  /// Bits of the given shape: x_T from coin tosses, then T steps back, each bit of each drawn with
  /// its own probability. On the CPU. The step at timestep t is drawn at step t + 1 of `rng`.
  Tensor sample(const BitNetwork& model, const Shape& shape, Rng rng,
                DType dtype = DType::f32) const;
};

}  // namespace ito
