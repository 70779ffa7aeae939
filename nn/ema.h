// Exponential moving average of the parameters. Diffusion models are sampled with the average, not
// with the last weights: forgetting it costs more quality than most changes of the network.
//
//   nn::Ema ema(flat, 0.9999);
//   for (int i = 0; i < steps; ++i) {
//     backward(mse(unet(x_t, t), eps));
//     adam.step(lr);
//     ema.update();                      // after every step
//   }
//   {
//     const nn::EmaScope use(ema);       // the network has the averaged weights in here
//     const Tensor y = unet(x_t, t);
//   }
//
// Adam::step_if_finite (nn/adam.h) updates the average in the same pass as the parameters.
#pragma once

#include <cmath>
#include <cstdint>

#include "nn/flat.h"
#include "tensor/kernels/optimizer.h"

namespace ito::nn {

using kernel::EmaDecay;
using kernel::EmaWarmup;

/// The decay that forgets half in this many updates.
inline double decay_of_half_life(double updates) { return std::exp2(-1.0 / updates); }

/// average = d average + (1 - d) values after each step, from the initial values on. EmaDecay
/// (tensor/kernels/optimizer.h) says what d is at update n = 0, 1, ...: by default
/// min(decay, (1 + n) / (10 + n)), at first a short memory, so that the untrained weights are
/// forgotten. Parameters only: nothing else of a model is averaged. The average has the dtype of
/// flat.master, also when the model computes in bf16.
///
///   Ema(flat, 0.9999)                                        DDPM's, with the warm-up above
///   Ema(flat, {.decay = 0.9999, .warmup = EmaWarmup::power}) of diffusers
///   Ema(flat, {.decay = decay_of_half_life(4000), .warmup = EmaWarmup::half_life})
///       EDM's (Karras et al. 2022): 0.5 million images of batches of 128 are 4000 updates
///   Ema(flat, {.decay = 0.995, .warmup = EmaWarmup::none, .every = 10})
class Ema {
 public:
  /// Starts as a copy of flat.master. Throws ValueError unless 0 <= decay < 1.
  explicit Ema(const FlatParameters& flat, double decay = 0.9999);
  Ema(const FlatParameters& flat, const EmaDecay& decay);

  /// Waits for the device, to know n.
  void update();
  /// d of the update number n.
  double decay_at(std::int64_t n) const;

  double decay() const { return decay_.decay; }
  /// Number of updates made; with `values` the whole state. Waits for the device, which counts.
  std::int64_t updates() const;
  /// Continues after `updates` updates, when `values` have been loaded. Throws ValueError below 0.
  void set_updates(std::int64_t updates);

  Tensor values;  ///< the average, laid out like flat.master

 private:
  friend class Adam;
  friend class EmaScope;
  FlatParameters flat_;
  EmaDecay decay_;
  Tensor updates_;  // i64 [1], on the device: a recorded step counts it there
};

/// While it lives the model has the averaged weights; then it gets its own back, bit for bit. Do
/// not train inside: such a change of the parameters is lost.
class EmaScope {
 public:
  explicit EmaScope(const Ema& ema);
  ~EmaScope();
  EmaScope(const EmaScope&) = delete;
  EmaScope& operator=(const EmaScope&) = delete;

 private:
  FlatParameters flat_;
  Tensor own_;
};

}  // namespace ito::nn
