// What a denoising network may predict. With x = alpha x_0 + sigma eps all of these carry the same
// information, and one follows from another:
//   eps    the noise (Ho et al. 2020)             x0    the clean image
//   v      alpha eps - sigma x_0 (Salimans & Ho 2022, arXiv 2202.00512)
//   score  the gradient of log q(x_t | x_0) = -eps / sigma (Song et al. 2021, arXiv 2011.13456)
//   edm    the output F of a preconditioned network (Karras et al. 2022, arXiv 2206.00364, eq. 7):
//          x_0 and eps mixed so that F has variance 1 when the data have variance sigma_data^2
//   flow   eps - x_0, the velocity of the straight line from x_0 to eps (Liu et al. 2022, arXiv
//          2209.03003)
//
//   const Levels levels = schedule.levels(t, x0);
//   const Tensor v = target(Prediction::v, x0, eps, levels);
//   const auto [x0_hat, eps_hat] = to_x0_eps(Prediction::v, v, x_t, levels);
//
// All are exact, differentiated, and element by element, for any alpha and sigma; v needs
// alpha^2 + sigma^2 = 1. Where alpha is small, going from eps to x0 divides by it: an error in eps
// is amplified by sigma / alpha, 157 at the last step of the linear schedule and 2e4 at that of the
// cosine one.
#pragma once

#include <string>
#include <vector>

#include "diffusion/process/level.h"
#include "tensor/enum_names.h"
#include "tensor/tensor.h"

namespace ito {

/// What a network's output means. Values are part of the checkpoint format by their names.
enum class Prediction { epsilon, x0, v, score, edm, flow };
constexpr EnumNames<Prediction, 6> enum_names(Prediction) {
  return {"prediction",
          {{Prediction::epsilon, "epsilon"},
           {Prediction::x0, "x0"},
           {Prediction::v, "v"},
           {Prediction::score, "score"},
           {Prediction::edm, "edm"},
           {Prediction::flow, "flow"}}};
}
/// Whether it says nothing about x_0 where alpha is 0: true of epsilon and score.
bool needs_signal(Prediction prediction);

/// The two parts of x = alpha x0 + sigma eps.
struct SignalAndNoise {
  Tensor x0;
  Tensor eps;
};

/// The estimates of x0 and eps that an output for x stands for. `sigma_data` is read by edm alone.
SignalAndNoise to_x0_eps(Prediction prediction, const Tensor& output, const Tensor& x,
                         const Levels& levels, double sigma_data = 0.5);

/// The inverse: the output that stands for x0 and eps, which is what a network is trained towards.
/// A score is far from variance 1 and needs a loss weight of its own.
Tensor target(Prediction prediction, const Tensor& x0, const Tensor& eps, const Levels& levels,
              double sigma_data = 0.5);

/// x = alpha x0 + sigma eps, solved for x0 and for eps.
Tensor x0_from_epsilon(const Tensor& eps, const Tensor& x, const Levels& levels);
Tensor epsilon_from_x0(const Tensor& x0, const Tensor& x, const Levels& levels);

/// sqrt(sigma^2 + alpha^2 sigma_data^2), the standard deviation of x.
Tensor standard_deviation(const Levels& levels, double sigma_data);

}  // namespace ito
