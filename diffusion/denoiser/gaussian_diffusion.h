// GaussianDiffusion: the forward process of DDPM and its training loss (Ho et al. 2020,
// arXiv 2006.11239; equation numbers are the paper's; docs/math.md derives them).
//
//   const GaussianDiffusion process{NoiseSchedule::linear()};
//   const Tensor t = randint(rng, 0, process.schedule.timesteps(), {batch});
//   const Tensor eps = randn(rng, x0.shape());
//   backward(process.loss(model, x0, t, eps));                // Algorithm 1
//
// Shapes: x0, x_t, eps [N, ...] in f32 or f64, t i64 [N] counted from 0 (see schedule.h), all on one
// device. Coefficients are computed in double precision, rounded to the dtype of the images, and
// read by t from tables on their device. A t outside the schedule is a ValueError; while a graph is
// recorded (tensor/graph.h) t cannot be looked at, and then gives NaN on the device. Randomness is
// always an argument. The reverse process is in samplers.h.
//
// All arithmetic here has the dtype of the images, f32 in training also when the network computes
// in bf16: such a network takes f32, rounds it at its entry and returns f32 (models/unet.h).
#pragma once

#include <functional>

#include "diffusion/denoiser/prediction.h"
#include "diffusion/denoiser/thresholding.h"
#include "diffusion/process/reverse_variance.h"
#include "diffusion/process/schedule.h"
#include "tensor/tensor.h"

namespace ito {

/// A network: (x_t [N, ..., C], t i64 [N]) to a prediction of x_t's shape. A U-Net is one, so is any
/// lambda. To guide or condition, wrap one in another. A network that learns the variance of the
/// reverse step puts out [N, ..., 2 C]: see split_output.
using Denoiser = std::function<Tensor(const Tensor& x_t, const Tensor& t)>;

/// What a network put out, by meaning.
struct NetworkOutput {
  Tensor prediction;  ///< of eps, x0 or v, [N, ..., C]
  Tensor variance;    ///< between -1 (beta_tilde) and 1 (beta), [N, ..., C]; undefined: not learned
};

/// Cuts the last axis in two where `output` has twice the channels of `x`. Throws ShapeError when
/// `output` has neither x's shape nor that one.
NetworkOutput split_output(const Tensor& output, const Tensor& x);

/// Both halves of x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps.
struct Denoised {
  Tensor x0;
  Tensor eps;
  Tensor variance;  ///< as in NetworkOutput
};

/// A normal distribution; variance and log_variance are [N, 1, ..., 1].
struct Posterior {
  Tensor mean;
  Tensor variance;
  Tensor log_variance;  ///< clipped: finite at t = 0, where the variance is 0
};

struct GaussianDiffusion {
  NoiseSchedule schedule;
  Prediction prediction = Prediction::epsilon;  ///< what the network's output means
  double sigma_data = 0.5;                      ///< of Prediction::edm, else not read

  /// A draw from q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I), for eps ~ N(0, I)
  /// (eq. 4): noise of any strength in one jump.
  Tensor add_noise(const Tensor& x0, const Tensor& t, const Tensor& eps) const;

  /// A draw from q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I) (eq. 2): one step of the
  /// chain.
  Tensor add_noise_step(const Tensor& x_prev, const Tensor& t, const Tensor& eps) const;

  /// q(x_{t-1} | x_t, x_0), the step back when x_0 is known (eq. 6 and 7).
  Posterior posterior(const Tensor& x0, const Tensor& x_t, const Tensor& t) const;

  /// What the network is trained to put out, by `prediction`. A score is far from variance 1 and
  /// wants a weight of its own.
  Tensor target(const Tensor& x0, const Tensor& t, const Tensor& eps) const;

  /// The squared error of each sample, averaged over its elements: [N]. For logging by timestep.
  Tensor losses(const Denoiser& model, const Tensor& x0, const Tensor& t, const Tensor& eps) const;

  /// L_simple: the mean of losses() (eq. 14), a scalar. The same sum with v or x0 for eps when
  /// those are predicted.
  Tensor loss(const Denoiser& model, const Tensor& x0, const Tensor& t, const Tensor& eps) const;

  /// losses() for an output that is already there: `output` = model(x_t, t), for a caller that has
  /// x_t too (data::gather_noisy_batch). An output in bf16 is widened first.
  Tensor losses_of(const Tensor& output, const Tensor& x0, const Tensor& t,
                   const Tensor& eps) const;

  /// The network's idea of x_0 and of the noise, whatever it predicts. With a limit, x0 is what
  /// that makes of it, and eps the noise that then explains x_t. Throws ValueError when the
  /// prediction is of eps or the score and the schedule ends at a signal-to-noise ratio of 0.
  Denoised denoise(const Denoiser& model, const Tensor& x_t, const Tensor& t,
                   const X0Limit& limit = {}) const;

  /// The factor before the squared error of eps in the variational bound,
  /// beta_t^2 / (2 sigma_t^2 alpha_t (1 - alpha_bar_t)) (eq. 12); L_simple replaces it by 1. For t
  /// >= 1.
  double bound_weight(std::int64_t t, ReverseVariance variance) const;

  /// sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t) of each sample, in x's dtype, shaped to broadcast
  /// with x.
  NoiseLevel noise_level(const Tensor& t, const Tensor& x) const;
  /// The same of every timestep, each [T]: what noise_level looks up in.
  NoiseLevel noise_levels(DType dtype = DType::f32, Device device = Device::cpu()) const;
};

}  // namespace ito
