// Initial values of parameters. Each takes one draw of the generator it is given, Rng(seed,
// Purpose::init), whatever the values turn out to be: changing how one layer starts leaves the
// others alone.
//
//   Rng init(42, Purpose::init);
//   Tensor w = nn::init::variance_scaling(init, {128, 3, 3, 3});
#pragma once

#include "tensor/rng.h"

namespace ito::nn::init {

/// Uniform in [-a, a] with variance scale / fan_avg, that is a = sqrt(3 scale / fan_avg), where
/// fan_avg is the mean of the numbers of inputs and outputs of a unit (Glorot & Bengio 2010, eq.
/// 16; the initialiser of DDPM with scale 1). scale = 0 gives true zeros, where the code of DDPM
/// takes 1e-10.
///   shape  [out, in] of a linear layer or [O, kh, kw, I] of a convolution
/// Returns a parameter, f32. Throws ShapeError for other ranks, ValueError for scale < 0 or not
/// finite.
Tensor variance_scaling(Rng& rng, const Shape& shape, double scale = 1.0);

/// Normal with mean 0 and the given standard deviation. Returns a parameter, f32.
Tensor normal(Rng& rng, const Shape& shape, double stddev = 1.0);

/// Constants, without a draw. Return a parameter, f32.
Tensor zeros(const Shape& shape);
Tensor ones(const Shape& shape);

}  // namespace ito::nn::init
