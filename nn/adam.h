// Adam and AdamW over the flat buffers of a model, and clipping by global norm.
//
//   nn::Adam adam(flat, {.beta2 = 0.999});                // AdamW: {.weight_decay = 0.01}
//   const double norm = nn::grad_norm(flat);
//   if (std::isfinite(norm))
//     adam.step(lr, nn::clip_factor(norm, 1.0));          // clipping costs no pass of its own
//
// The same without waiting for the device, so that it can be recorded (tensor/cuda_graph.h):
//
//   nn::Ema ema(flat);
//   adam.set_lr(lr);
//   adam.step_if_finite({.max_norm = 1.0, .average = &ema});
#pragma once

#include <cstdint>
#include <limits>

#include "nn/ema.h"
#include "nn/flat.h"
#include "nn/safetensors.h"

namespace ito::nn {

struct AdamOptions {
  double lr = 2e-4;  ///< of step(); DDPM on CIFAR-10
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;  ///< decoupled: AdamW
};

/// Of a step that looks at the gradients before it uses them.
struct GuardedStep {
  double max_norm = std::numeric_limits<double>::infinity();  ///< clips the gradients to this norm
  Ema* average = nullptr;  ///< updated in the same pass; must outlive recorded steps
  Tensor losses = {};      ///< [n] or undefined; must be finite too
  std::int64_t max_consecutive_skips =
      0;  ///< after so many steps in a row without an update there is no
          ///< further one; 0 for no limit
};

/// Kingma & Ba 2014 (arXiv 1412.6980), algorithm 1. At step t = 1, 2, ... with gradient g:
///   m = beta1 m + (1 - beta1) g                mhat = m / (1 - beta1^t)
///   v = beta2 v + (1 - beta2) g^2              vhat = v / (1 - beta2^t)
///   p = p - lr mhat / (sqrt(vhat) + eps) - lr weight_decay p
/// The last term is the decoupled decay of Loshchilov & Hutter 2017 (arXiv 1711.05101), algorithm
/// 2, with the learning rate as its schedule; it uses p from before the step.
///
/// What a step needs besides the gradients (the rate, t, the factors made from them) lies in the
/// memory of the device, and so does what it counts.
class Adam {
 public:
  /// Throws ValueError for an option outside its range: lr, eps, weight_decay >= 0 and finite,
  /// betas in [0, 1).
  explicit Adam(const FlatParameters& flat, const AdamOptions& options = {});

  void step() { step(options_.lr); }
  /// One update from flat.grads, each multiplied by `grad_scale` first (clip_factor). Throws
  /// ValueError when lr or grad_scale is not finite; nothing has changed then.
  void step(double lr, double grad_scale = 1.0);

  /// The rate of later steps. Throws ValueError when it is not finite or below 0.
  void set_lr(double lr);
  /// One update with the rate of set_lr and gradients clipped by their global norm, together with
  /// the average. When the norm or a loss is not finite nothing changes but the count of skipped
  /// steps. Never waits for the device.
  void step_if_finite(const GuardedStep& guard);

  const AdamOptions& options() const { return options_; }
  /// Number of updates made. With `m` and `v` (laid out like flat.master) the whole state. This and
  /// the other results of steps wait for the device.
  std::int64_t steps() const;
  /// Continues after `steps` updates, when m and v have been loaded. Throws ValueError below 0.
  void set_steps(std::int64_t steps);
  /// Steps without an update since the last one with.
  std::int64_t skipped_in_a_row() const;
  void set_skipped_in_a_row(std::int64_t steps);
  /// Norm of the gradients at the last step_if_finite, before clipping.
  double grad_norm() const;

  Tensor m, v;

  /// The whole state under names for a file: m.<parameter>, v.<parameter> (views) and steps, i64 (a
  /// copy).
  std::vector<NamedTensor> state(const FlatParameters& flat) const;
  /// Continues from a file with exactly these tensors. Throws FormatError; nothing has changed
  /// then.
  void load_state(const FlatParameters& flat, const SafeTensors& file);

 private:
  friend class StepHistory;
  void update(const GuardedStep& guard, const double* squared_norm, double grad_scale);

  FlatParameters flat_;
  AdamOptions options_;
  Tensor lr_, squared_norm_;  // f64 [1]
  Tensor counters_;           // i64: a kernel::AdamCounters
  Tensor scalars_;            // f64: a kernel::AdamScalars
};

/// Euclidean norm of all gradients together, accumulated in f64 in an order that does not depend on
/// the threads. Not finite when a gradient is not.
double grad_norm(const FlatParameters& flat);

/// What to multiply gradients of norm `norm` by, so that it becomes at most `max_norm`:
/// min(1, max_norm / norm) (Pascanu et al. 2013, algorithm 1). Throws ValueError unless norm is
/// finite and max_norm > 0; an infinite max_norm never clips.
double clip_factor(double norm, double max_norm);

/// Scales the gradients in place to norm at most `max_norm` and returns the norm before. When that
/// is not finite the gradients stay as they are: look at the result before using them.
double clip_grad_norm(FlatParameters& flat, double max_norm);

}  // namespace ito::nn
