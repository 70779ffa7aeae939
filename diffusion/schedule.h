// NoiseSchedule: how much noise there is at every timestep, as tables in double precision.
//
// The papers count timesteps 1 .. T and write alpha_bar_0 = 1 for "no noise". Here, as in every
// tensor that holds timesteps, t counts from 0: index t stands for the papers' t + 1, and index -1,
// where it is accepted, for their 0.
//
//   const NoiseSchedule schedule = NoiseSchedule::linear();   // T = 1000, beta from 1e-4 to 0.02
//   schedule.alpha_bar(999);                                  // 4.0358e-5
//
// Tables of a schedule are part of what a checkpoint means: factories may be added, never changed.
// Coefficients for tensors come from GaussianDiffusion, which reads them from tables in the tensor's
// dtype, on its device.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace ito {

class NoiseSchedule {
 public:
  /// beta rises linearly from beta_first to beta_last (Ho et al. 2020, arXiv 2006.11239, section
  /// 4). Throws ValueError unless timesteps >= 1 and 0 < beta_first <= beta_last < 1.
  static NoiseSchedule linear(std::int64_t timesteps = 1000, double beta_first = 1e-4,
                              double beta_last = 0.02);

  /// alpha_bar(t) = f(t) / f(0), f(t) = cos^2(((t / T + s) / (1 + s)) pi / 2), and beta clipped at
  /// 0.999 (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 17).
  /// Throws ValueError unless timesteps >= 1 and s > 0.
  static NoiseSchedule cosine(std::int64_t timesteps = 1000, double s = 0.008);

  /// Any table of beta_1 .. beta_T. Throws ValueError unless all lie in (0, 1) and there is one.
  static NoiseSchedule from_betas(std::vector<double> betas);

  std::int64_t timesteps() const { return static_cast<std::int64_t>(beta_.size()); }

  // Each throws ValueError when t is outside [0, T); the second group also takes -1, the clean
  // image.

  /// Variance of the noise that step t adds: q(x_t | x_{t-1}) = N(sqrt(1 - beta) x_{t-1}, beta I).
  double beta(std::int64_t t) const;
  /// 1 - beta.
  double alpha(std::int64_t t) const;

  /// Product of alpha over the steps up to t: x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps.
  double alpha_bar(std::int64_t t) const;
  /// With all its digits, also where alpha_bar is near 1.
  double one_minus_alpha_bar(std::int64_t t) const;
  double sqrt_alpha_bar(std::int64_t t) const;
  double sqrt_one_minus_alpha_bar(std::int64_t t) const;

  /// 1 - alpha_bar_t / alpha_bar_s for -1 <= s < t: beta of the steps after s up to t taken as one,
  /// q(x_t | x_s) = N(sqrt(1 - beta_between) x_s, beta_between I).
  double beta_between(std::int64_t s, std::int64_t t) const;

  /// Variance of q(x_{t-1} | x_t, x_0): beta (1 - alpha_bar_{t-1}) / (1 - alpha_bar_t) (Ho et al.,
  /// eq. 7). 0 at t = 0.
  double beta_tilde(std::int64_t t) const;
  /// log beta_tilde, with the value at t = 1 in place of log 0 at t = 0. With T = 1: log beta.
  double log_beta_tilde_clipped(std::int64_t t) const;

  /// alpha_bar / (1 - alpha_bar), the signal-to-noise ratio.
  double snr(std::int64_t t) const;

  /// KL(q(x_T | x_0) || N(0, I)) per dimension, in nats, for data with E[x_0^2] = second_moment:
  /// what starting the reverse process from pure noise ignores.
  double prior_kl(double second_moment = 1.0) const;

  /// A number for each timestep, such as [](const NoiseSchedule& s, std::int64_t t) { return
  /// s.beta(t); }.
  using Coefficient = double (*)(const NoiseSchedule& schedule, std::int64_t t);
  /// f at every timestep, [T], computed in double precision and rounded to `dtype`, on `device`:
  /// where kernels look it up by t. Made by the first call, which copies it to the device, and kept
  /// as long as a copy of this schedule lives. May be called by several threads at once.
  Tensor table(Coefficient f, DType dtype, Device device) const;

 private:
  explicit NoiseSchedule(std::vector<double> betas);
  std::size_t index(std::int64_t t) const;

  std::vector<double> beta_;
  std::vector<double> alpha_bar_;
  std::vector<double> log_alpha_bar_;  // by log1p: keeps the digits that 1 - alpha_bar would lose
  struct Tables;
  std::shared_ptr<Tables> tables_;  // of table(), shared by the copies of a schedule
};

}  // namespace ito
