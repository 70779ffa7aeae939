// What a denoising network may predict, and how to turn one prediction into another.
//
// With x_t = alpha x_0 + sigma eps, all of these carry the same information:
//   eps    the noise (Ho et al. 2020)             x0    the clean image
//   v      alpha eps - sigma x_0 (Salimans & Ho 2022, arXiv 2202.00512)
//   score  the gradient of log q(x_t | x_0) = -eps / sigma (Song et al. 2021, arXiv 2011.13456)
//   edm    the output F of a preconditioned network (Karras et al. 2022, arXiv 2206.00364, eq. 7):
//          x_0 and eps mixed so that F has variance 1 when the data have variance sigma_data^2
//   flow   eps - x_0, the velocity of the straight line from x_0 to eps (Liu et al. 2022, arXiv
//          2209.03003)
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
enum class Prediction { epsilon, x0, v, score, edm, flow };

/// "epsilon", "x0", "v", "score", "edm", "flow".
const char* name_of(Prediction prediction);
/// Throws ValueError on another name.
Prediction prediction_from_name(const std::string& name);
/// Whether it says nothing about x_0 where alpha is 0: true of epsilon and score.
bool needs_signal(Prediction prediction);

/// x_t = alpha x_0 + sigma eps. Both broadcast against x_t: [N, 1, ..., 1], or scalars.
struct NoiseLevel {
  Tensor alpha;
  Tensor sigma;
};

/// The two halves of x_t.
struct SignalAndNoise {
  Tensor x0;
  Tensor eps;
};

/// What an output of any kind says about x_t. `sigma_data` is read by edm alone.
SignalAndNoise explain(Prediction kind, const Tensor& output, const Tensor& x_t,
                       const NoiseLevel& level, double sigma_data = 0.5);
/// The way back: the output that says x0 and eps.
Tensor output_for(Prediction kind, const SignalAndNoise& x, const NoiseLevel& level,
                  double sigma_data = 0.5);

// One by one.

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

Tensor x0_from_flow(const Tensor& flow, const Tensor& x_t, const NoiseLevel& level);
Tensor epsilon_from_flow(const Tensor& flow, const Tensor& x_t, const NoiseLevel& level);

/// D = c_skip x + c_out F for x = x_t / alpha at the level sigma / alpha.
Tensor x0_from_edm(const Tensor& f, const Tensor& x_t, const NoiseLevel& level, double sigma_data);
Tensor epsilon_from_edm(const Tensor& f, const Tensor& x_t, const NoiseLevel& level,
                        double sigma_data);
/// F by its definition, from both. -v for sigma_data = 1 and alpha^2 + sigma^2 = 1.
Tensor edm_from_x0_epsilon(const Tensor& x0, const Tensor& eps, const NoiseLevel& level,
                           double sigma_data);

Tensor score_from_epsilon(const Tensor& eps, const NoiseLevel& level);
Tensor score_from_x0(const Tensor& x0, const Tensor& x_t, const NoiseLevel& level);
Tensor score_from_v(const Tensor& v, const Tensor& x_t, const NoiseLevel& level);

}  // namespace ito
