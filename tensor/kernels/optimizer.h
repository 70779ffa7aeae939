// Contracts: one pass each over the flat buffers of a model (nn/flat.h).
//
// A step of training is SquaredNorm, AdamBegin, AdamStep: no number of it passes through the host,
// so that the step can be recorded (tensor/cuda_graph.h) and nothing waits for the device.
#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/enum_names.h"
#include "tensor/kernels/cost.h"

namespace ito::kernel {

/// The numbers of one update, in the memory of the device that makes it.
struct AdamScalars {
  double step_size;     ///< lr / (1 - beta1^t)
  double decay;         ///< 1 - lr weight_decay
  double bias2_rsqrt;   ///< 1 / sqrt(1 - beta2^t)
  double grad_scale;    ///< of the gradient before use: the clipping factor, 1 for none
  double average_rate;  ///< 1 - the decay of the average
  double grad_norm;     ///< before clipping; 0 when it was not asked for
  double update;        ///< 1; 0 for a step that must change nothing
};

struct AdamCounters {
  std::int64_t steps;             ///< updates made: t of the last one
  std::int64_t skipped_in_a_row;  ///< steps without one since then
};

/// How the memory of an average grows from nothing at update n = 0, 1, ... to its full length.
enum class EmaWarmup : std::uint8_t {
  none,       ///< it does not: the full length from the start
  ratio,      ///< (1 + n) / (10 + n)
  power,      ///< 1 - (1 + n / gamma)^-power
  half_life,  ///< 2^(-1 / (ramp n)): the half-life is at most the fraction `ramp` of what was seen
};
constexpr EnumNames<EmaWarmup, 4> enum_names(EmaWarmup) {
  return {"EMA warm-up",
          {{EmaWarmup::none, "none"},
           {EmaWarmup::ratio, "ratio"},
           {EmaWarmup::power, "power"},
           {EmaWarmup::half_life, "half-life"}}};
}

/// average = d average + (1 - d) values after each step, with d = min(decay, what `warmup` allows).
struct EmaDecay {
  double decay = 0.9999;
  EmaWarmup warmup = EmaWarmup::ratio;
  double gamma = 1.0, power = 2.0 / 3.0;  ///< of EmaWarmup::power
  double ramp = 0.05;                     ///< of EmaWarmup::half_life
  std::int64_t every = 1;  ///< the average changes at each so manieth step only; n counts changes

  /// d of step number `step` = 0, 1, ...; 1 where the average does not change.
  ITO_HOST_DEVICE double at(std::int64_t step) const {
    if (every > 1 && step % every != every - 1) return 1.0;
    const double n = static_cast<double>(every > 1 ? step / every : step);
    double warmup_decay = 1.0;
    if (warmup == EmaWarmup::ratio) warmup_decay = (1.0 + n) / (10.0 + n);
    if (warmup == EmaWarmup::power) warmup_decay = 1.0 - std::pow(1.0 + n / gamma, -power);
    if (warmup == EmaWarmup::half_life) warmup_decay = n > 0.0 ? std::exp2(-1.0 / (ramp * n)) : 0.0;
    return warmup_decay < decay ? warmup_decay : decay;
  }
};

/// Fills the scalars of the next update and counts it. The update is skipped when the norm of the
/// gradients or a loss is not finite, and for good after `max_consecutive_skips` such steps in a
/// row.
struct AdamBegin {
  static constexpr const char* name = "adam_begin";
  struct Args {
    const double* lr;
    const double* squared_norm;  ///< null: neither looked at nor clipped
    double max_norm;             ///< of the gradients after clipping; infinity never clips
    double grad_scale;           ///< besides clipping
    const void* losses;          ///< null or [n_losses]: must be finite
    std::int64_t n_losses;
    DType losses_dtype;
    double beta1, beta2, weight_decay;
    std::int64_t* average_updates;  ///< null or the average's counter of updates
    EmaDecay average_decay;
    std::int64_t max_consecutive_skips;  ///< 0: no limit
    AdamCounters* counters;
    AdamScalars* scalars;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
};

/// For every element, with g = grad_scale * grad[i]:
///   m = beta1 m + (1 - beta1) g
///   v = beta2 v + (1 - beta2) g^2
///   p = decay p - step_size m / (sqrt(v) bias2_rsqrt + eps)
///   average += average_rate (p - average)
///   copy = p in bf16
/// Nothing when scalars->update is 0.
struct AdamStep {
  static constexpr const char* name = "adam_step";
  struct Args {
    void* p;
    const void* grad;
    void* m;
    void* v;
    void* average;  ///< or null
    bf16* copy;     ///< or null
    std::int64_t n;
    double beta1, beta2, eps;
    const AdamScalars* scalars;
    DType dtype;       ///< of p, m, v, average: f32, on the CPU also f64
    DType grad_dtype;  ///< the same or bf16
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) {
    const std::int64_t arrays = 6 + (a.average == nullptr ? 0 : 2);  // p, m, v and average twice
    return {.bytes = bytes_of(arrays * a.n, a.dtype) + bytes_of(a.n, a.grad_dtype) +
                     bytes_of(a.copy == nullptr ? 0 : a.n, DType::bf16)};
  }
};

/// average[i] += (1 - decay) (x[i] - average[i]); equal values stay exactly equal.
struct EmaStep {
  static constexpr const char* name = "ema_step";
  struct Args {
    void* average;
    const void* x;
    std::int64_t n;
    double decay;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of(3 * a.n, a.dtype)}; }
};

/// *y = sum of x[i]^2, in f64; the order of additions depends on n only.
struct SquaredNorm {
  static constexpr const char* name = "squared_norm";
  struct Args {
    const void* x;
    double* y;
    std::int64_t n;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of(a.n, a.dtype)}; }
};

/// x[i] *= factor.
struct Scale {
  static constexpr const char* name = "scale";
  struct Args {
    void* x;
    std::int64_t n;
    double factor;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of(2 * a.n, a.dtype)}; }
};

/// *index = the smallest i for which x[i] is infinite or NaN, or -1.
struct FirstNonFinite {
  static constexpr const char* name = "first_non_finite";
  struct Args {
    const void* x;
    std::int64_t* index;
    std::int64_t n;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of(a.n, a.dtype)}; }
};

/// Keeps what a step of training computed until somebody asks. Row *position % capacity of `rows`
/// [capacity, 2 n + 2] becomes the losses, the timesteps, the norm of the gradients and whether
/// there was an update; then ++*position.
struct RecordStep {
  static constexpr const char* name = "record_step";
  struct Args {
    const void* losses;     ///< [n]
    const std::int64_t* t;  ///< [n]
    const AdamScalars* scalars;
    double* rows;
    std::int64_t* position;
    std::int64_t n, capacity;
    DType dtype;  ///< of the losses
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
};

/// What AdamBegin does when it is known whether the losses are finite: the same on every device.
ITO_HOST_DEVICE inline void begin_adam(const AdamBegin::Args& a, bool finite) {
  AdamScalars& s = *a.scalars;
  AdamCounters& count = *a.counters;
  s.grad_norm = a.squared_norm == nullptr ? 0.0 : std::sqrt(*a.squared_norm);
  finite = finite && std::isfinite(s.grad_norm);
  const bool given_up =
      a.max_consecutive_skips > 0 && count.skipped_in_a_row >= a.max_consecutive_skips;
  s.update = finite && !given_up ? 1.0 : 0.0;
  if (s.update == 0.0) {
    ++count.skipped_in_a_row;
    return;
  }
  count.skipped_in_a_row = 0;
  const double lr = *a.lr, t = static_cast<double>(++count.steps);
  s.step_size = lr / (1.0 - std::pow(a.beta1, t));
  s.decay = 1.0 - lr * a.weight_decay;
  s.bias2_rsqrt = 1.0 / std::sqrt(1.0 - std::pow(a.beta2, t));
  s.grad_scale = a.grad_scale * (s.grad_norm > a.max_norm ? a.max_norm / s.grad_norm : 1.0);
  s.average_rate = 0.0;
  if (a.average_updates != nullptr) {
    s.average_rate = 1.0 - a.average_decay.at((*a.average_updates)++);
  }
}

}  // namespace ito::kernel
