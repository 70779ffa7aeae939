// Parametrization: what a network is given and what its output means. It turns a network into a
// denoiser, which samplers, guidance, bound and codec take, whatever the network predicts.
//
//   const Parametrization epsilon{.prediction = Prediction::epsilon};      // DDPM
//   const Denoiser model = epsilon.denoiser(std::cref(unet));
//   const auto [x0, eps, variance] = model(x_t, schedule.levels(t, x_t));
//
//   const Tensor output = epsilon.call(network, x_t, levels);             // training
//   backward(mean(epsilon.losses(output, x0, eps, levels)));
//
// Shapes: x, x0, eps [N, ...] in f32 or f64. All arithmetic has the dtype of x, f32 in training
// also when the network computes in bf16: such a network takes f32, rounds it at its entry and
// returns f32 (models/unet.h). Part of a model file (models/model_file.h).
#pragma once

#include <cstdint>
#include <functional>

#include "diffusion/denoiser/condition.h"
#include "diffusion/denoiser/prediction.h"
#include "diffusion/process/level.h"
#include "diffusion/process/schedule.h"
#include "tensor/tensor.h"

namespace ito {

/// A network: (x [N, ..., C], time [N], a real number in x's dtype) to a prediction of x's shape. A
/// U-Net is one, so is any lambda. A network that learns the variance of the reverse step puts out
/// [N, ..., 2 C]: see split_output.
using Network = std::function<Tensor(const Tensor& x, const Tensor& time)>;

/// What a denoiser says about x.
struct Denoised {
  Tensor x0;        ///< the estimate of the clean images, of x's shape
  Tensor eps;       ///< the estimate of the noise: x = alpha x0 + sigma eps
  Tensor variance;  ///< as in NetworkOutput
};

/// (x [N, ...], its noise levels) to estimates of the clean images and of the noise.
using Denoiser = std::function<Denoised(const Tensor& x, const Levels& levels)>;

/// What a network put out, by meaning.
struct NetworkOutput {
  Tensor prediction;  ///< [N, ..., C]
  Tensor variance;    ///< between -1 (beta_tilde) and 1 (beta), [N, ..., C]; undefined: not learned
};

/// Cuts the last axis in two where `output` has twice the channels of `x`. Throws ShapeError when
/// `output` has neither x's shape nor that one.
NetworkOutput split_output(const Tensor& output, const Tensor& x);

/// The number that a network is given for a level.
enum class TimeInput : std::uint8_t {
  time,       ///< Level::time: a timestep, or what the path counts in
  log_sigma,  ///< ln(sigma / alpha) / 4, EDM's c_noise
};

struct Parametrization {
  Prediction prediction = Prediction::epsilon;  ///< what the network's output means
  TimeInput time_input = TimeInput::time;
  /// The network is given x / sqrt(sigma^2 + alpha^2 sigma_data^2), of variance 1: EDM's c_in.
  bool scale_input = false;
  double sigma_data = 0.5;  ///< standard deviation of the data; for scale_input and edm

  /// The design of Karras et al. 2022 (arXiv 2206.00364, "EDM"), eq. 7: whatever the noise, the
  /// network is given inputs of variance 1 and trained towards targets of variance 1, and its part
  /// in the estimate of x0 is small where there is little noise.
  static Parametrization edm(double sigma_data = 0.5);

  /// The network's output for x.
  Tensor call(const Network& network, const Tensor& x, const Levels& levels) const;

  /// The estimates that an output for x stands for.
  Denoised denoised(const Tensor& output, const Tensor& x, const Levels& levels) const;

  /// call() and denoised() in one.
  Denoiser denoiser(Network network) const;
  /// The same under a condition.
  Denoiser denoiser(ConditionalNetwork network, Condition condition) const;

  /// What the network is trained to put out.
  Tensor target(const Tensor& x0, const Tensor& eps, const Levels& levels) const;

  /// The squared error of the output of each sample, averaged over its elements: [N]. Their mean is
  /// L_simple (Ho et al. 2020, eq. 14) when the prediction is epsilon. An output in bf16 is widened
  /// first.
  Tensor losses(const Tensor& output, const Tensor& x0, const Tensor& eps,
                const Levels& levels) const;

  /// Throws ValueError when the prediction is of eps or the score and `schedule` ends at a
  /// signal-to-noise ratio of 0, where these say nothing about x_0.
  void expect_usable(const NoiseSchedule& schedule) const;

  friend bool operator==(const Parametrization&, const Parametrization&) = default;
};

}  // namespace ito
