// Sending a sample of q to somebody who only knows p, at about KL(q || p) bits: relative entropy
// coding with the Poisson functional representation (Li & El Gamal 2018, arXiv 1701.02827;
// Maddison 2016, arXiv 1604.00044).
//
// Both sides draw the same candidates z_1, z_2, ... from p, by shared random numbers. The sender
// lets them arrive at the times s_1 < s_2 < ... of a Poisson process and takes the k that minimises
// s_k p(z_k) / q(z_k). Then z_k is an exact sample of q, and the number k, which is all that is
// sent, is small when p is near q: E[log2 k] <= KL + 1 bit, and a code for numbers makes that
// KL + log2(KL + 1) + 4 bits.
//
//   const Rng shared(seed, Purpose::sample);
//   const std::vector<float> shift(4, 1.0f), scale(4, 0.5f);
//   const std::uint32_t k = codec::choose_candidate(shared, /*place=*/0, {shift, scale}, 1 << 20);
//   const Tensor z = codec::candidate(shared, 0, k, 4);      // on both sides
//
// Here p = N(0, I), which any normal p becomes in units of its own mean and deviation.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/rng.h"

namespace ito::codec {

/// q = N(shift, diag(scale^2)), scale > 0, in the units of p.
struct Target {
  std::span<const float> shift, scale;
};

/// KL(N(shift, scale^2) || N(0, 1)) of one element, in bits.
double divergence(float shift, float scale);

/// Candidate k = 1, 2, ... at `place`: f32 [n]. Places with different numbers (below 2^40) have
/// independent candidates. The step of `shared` is not used.
Tensor candidate(Rng shared, std::uint64_t place, std::uint32_t k, std::int64_t n);

/// The k in [1, limit] whose candidate is sent, after about 2^KL of them. Where q is narrower than
/// p everywhere, q / p has a maximum, and the search ends when no later candidate can win: the
/// sample has the law of q. When `limit` ends it, values with q / p above about `limit` come out
/// too rarely.
std::uint32_t choose_candidate(Rng shared, std::uint64_t place, const Target& q,
                               std::uint32_t limit);

}  // namespace ito::codec
