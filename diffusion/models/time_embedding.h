// A number, the timestep or a level of noise, as a vector that a network can use.
//
//   const Tensor of_steps = sinusoidal_embedding(t, 128);              // t i64 [N]; [N, 128]
//   const Tensor log_sigma = log(reshape(levels.sigma, {-1}));         // [N]
//   const Tensor of_noise = fourier_embedding(log_sigma, 128);         // [N, 128]
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace ito {

/// In which order, and at which frequencies f_i for i < half = dim / 2.
enum class Sinusoids : std::uint8_t {
  /// Sines, then cosines; f_i = 10000^(-i / (half - 1)), from 1 to 1 / 10000 (Ho et al. 2020)
  ddpm,
  iddpm,  ///< cosines, then sines; f_i = 10000^(-i / half) (Nichol & Dhariwal 2021)
};

/// Sines and cosines of t at frequencies that fall geometrically (Vaswani et al. 2017, section
/// 3.5):
///   y[n, i] = sin(t[n] f_i),  y[n, half + i] = cos(t[n] f_i)        or the halves exchanged
///   t [N], i64 or continuous (f32, on the CPU f64), dim even and >= 4; returns [N, dim] in `dtype`
///   on t's device. No gradient to t.
/// Computed in double precision and rounded (to bf16 by way of f32): in f32 the argument of a sine
/// near t = 1000 is off by up to 3e-5. Reads nothing back from the device.
/// Throws ShapeError, DTypeError, ValueError.
Tensor sinusoidal_embedding(const Tensor& t, std::int64_t dim, DType dtype = DType::f32,
                            Sinusoids order = Sinusoids::ddpm);

/// Random Fourier features of a continuous number, such as log sigma (Tancik et al. 2020,
/// arXiv 2006.10739; Song et al. 2021, with scale 16):
///   y[n, i] = sin(2 pi w_i t[n]),  y[n, half + i] = cos(2 pi w_i t[n]),  w_i ~ N(0, scale^2)
///   t [N] floating, dim even and >= 2; returns [N, dim] in the dtype of t.
/// The w_i are fixed, not learned: always the same draws, so that a checkpoint need not hold them.
/// Throws ShapeError, DTypeError, ValueError.
Tensor fourier_embedding(const Tensor& t, std::int64_t dim, double scale = 16.0);

/// x [N, ..., C] beside sin(2^n pi x) and cos(2^n pi x) for each n of `exponents`: [N, ..., C (1 +
/// 2 k)] (Kingma et al. 2021, arXiv 2107.00630, appendix C).
Tensor with_fourier_features(const Tensor& x, const std::vector<std::int64_t>& exponents);

}  // namespace ito
