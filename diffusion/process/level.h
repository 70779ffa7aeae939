// Level: how noisy an image is, as a value. All processes of ito mix a clean image and noise,
//
//   x = alpha x_0 + sigma eps,   eps ~ N(0, I)
//
// and differ in the alpha and sigma that they pass through: alpha^2 + sigma^2 = 1 in DDPM, alpha =
// 1 in EDM, alpha + sigma = 1 in rectified flow. Samplers, losses and bounds work with levels, and
// so serve all of them. Levels come from a NoiseSchedule (schedule.h) or a Path (path.h).
//
//   const NoiseSchedule schedule = NoiseSchedule::linear();
//   const Level noisy = schedule.level(999), less = schedule.level(749);
//   const Transition q = transition(less, noisy);        // q(x_999 | x_749)
//
//   const Levels levels = schedule.levels(t, x0);        // one for each image, t i64 [N]
//   const Tensor x_t = add_noise(x0, eps, levels);
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// One noise level.
struct Level {
  double time = 0.0;   ///< as its schedule or path counts; networks are given it
  double alpha = 1.0;  ///< at least 0
  double sigma = 0.0;  ///< at least 0

  /// No noise.
  static Level clean() { return {}; }
  bool is_clean() const { return sigma == 0.0; }

  /// sigma / alpha, the noise of x / alpha = x_0 + sigma / alpha eps: the sigma of Karras et al.
  /// 2022 (arXiv 2206.00364). 0 for clean images, infinity where alpha is 0.
  double noise_to_signal() const { return sigma / alpha; }
  /// log(alpha / sigma), the time of the DPM-Solvers (Lu et al. 2022, arXiv 2206.00927): half of
  /// the logarithm of the signal-to-noise ratio. Infinity for clean images, -infinity where alpha
  /// is 0.
  double lambda() const;

  friend bool operator==(const Level&, const Level&) = default;
};

/// The levels of a batch of N samples. All three in the dtype of the samples, on their device.
struct Levels {
  Tensor time;   ///< [N]
  Tensor alpha;  ///< broadcasts against the samples: [N, 1, ..., 1], or a scalar when all agree
  Tensor sigma;  ///< likewise
};

/// The same level for every sample of the batch x [N, ...], in f32 or f64.
Levels same_level(const Level& level, const Tensor& x);

/// x = alpha x0 + sigma eps. x0 and eps are [N, ...]. Throws ShapeError.
Tensor add_noise(const Tensor& x0, const Tensor& eps, const Levels& levels);

/// The Gaussian step from s to a noisier level t with the same marginals:
/// q(x_t | x_s) = N(scale x_s, variance I), scale = alpha_t / alpha_s,
/// variance = sigma_t^2 - scale^2 sigma_s^2. For neighbours in a schedule that is beta_t.
struct Transition {
  double scale;
  double variance;
};
/// Throws ValueError when t is less noisy than s.
Transition transition(const Level& s, const Level& t);

}  // namespace ito
