// What a denoising network may predict, and how to turn one prediction into another.
//
// With x_t = alpha x_0 + sigma eps, all of these carry the same information:
//   eps    the noise (Ho et al. 2020)             x0    the clean image
//   v      alpha eps - sigma x_0 (Salimans & Ho 2022, arXiv 2202.00512)
//   score  the gradient of log q(x_t | x_0) = -eps / sigma (Song et al. 2021, arXiv 2011.13456)
//
//   const NoiseLevel level = process.noise_level(t, x_t);      // one alpha and sigma per sample
//   const Tensor x0 = x0_from_epsilon(eps_hat, x_t, level);
//
// All are exact, differentiated, and element by element. Those with v need alpha^2 + sigma^2 = 1
// (variance preserving); the others hold for any alpha and sigma. Where alpha is small, going from
// eps to x0 divides by it: an error in eps is amplified by sigma / alpha, 157 at the last step of
// the linear schedule and 2e4 at that of the cosine one.
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// What a network's output means. Values are part of the checkpoint format by their names.
enum class Prediction { epsilon, x0, v };

/// "epsilon", "x0", "v".
const char* name_of(Prediction prediction);
/// Throws ValueError on another name.
Prediction prediction_from_name(const std::string& name);

/// x_t = alpha x_0 + sigma eps. Both broadcast against x_t: [N, 1, ..., 1], or scalars.
struct NoiseLevel {
  Tensor alpha;
  Tensor sigma;
};

Tensor x0_from_epsilon(const Tensor& eps, const Tensor& x_t, const NoiseLevel& level);
Tensor x0_from_v(const Tensor& v, const Tensor& x_t, const NoiseLevel& level);
Tensor x0_from_score(const Tensor& score, const Tensor& x_t, const NoiseLevel& level);

Tensor epsilon_from_x0(const Tensor& x0, const Tensor& x_t, const NoiseLevel& level);
Tensor epsilon_from_v(const Tensor& v, const Tensor& x_t, const NoiseLevel& level);
Tensor epsilon_from_score(const Tensor& score, const NoiseLevel& level);

Tensor v_from_epsilon(const Tensor& eps, const Tensor& x_t, const NoiseLevel& level);
Tensor v_from_x0(const Tensor& x0, const Tensor& x_t, const NoiseLevel& level);
Tensor v_from_score(const Tensor& score, const Tensor& x_t, const NoiseLevel& level);
/// v by its definition, from both.
Tensor v_from_x0_epsilon(const Tensor& x0, const Tensor& eps, const NoiseLevel& level);

Tensor score_from_epsilon(const Tensor& eps, const NoiseLevel& level);
Tensor score_from_x0(const Tensor& x0, const Tensor& x_t, const NoiseLevel& level);
Tensor score_from_v(const Tensor& v, const Tensor& x_t, const NoiseLevel& level);

}  // namespace ito
