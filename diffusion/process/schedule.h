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
#include <string>
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

  /// linear() with both ends multiplied by 1000 / timesteps, so that about as much noise is added
  /// whatever T is (Nichol & Dhariwal 2021, section 4). Throws ValueError unless timesteps > 20.
  static NoiseSchedule linear_rescaled(std::int64_t timesteps = 1000);

  /// sqrt(beta) rises linearly. With the ends 0.00085 and 0.012 that is the schedule of Stable
  /// Diffusion, there called scaled linear. Throws as linear.
  static NoiseSchedule quadratic(std::int64_t timesteps = 1000, double beta_first = 1e-4,
                                 double beta_last = 0.02);

  /// The same beta at every step. Throws ValueError unless timesteps >= 1 and 0 < beta < 1.
  static NoiseSchedule constant(std::int64_t timesteps = 1000, double beta = 0.02);

  /// beta_t = 1 / (T - t + 1): each step forgets the same share of the start, alpha_bar_t = 1 - t/T
  /// (Sohl-Dickstein et al. 2015, arXiv 1503.03585, section 2.4.1; "jsd" in the code of DDPM). The
  /// last beta is 1. Throws ValueError unless timesteps >= 1.
  static NoiseSchedule jsd(std::int64_t timesteps = 1000);

  /// beta rises linearly over the first `fraction` of the steps, rounded down, and stays at
  /// beta_last. Throws as linear, and unless 0 <= fraction <= 1.
  static NoiseSchedule warmup(std::int64_t timesteps = 1000, double fraction = 0.1,
                              double beta_first = 1e-4, double beta_last = 0.02);

  /// The noise levels of Karras et al. 2022 (arXiv 2206.00364, eq. 5), counted upwards:
  /// sigma(t)^(1 / rho) rises linearly from sigma_first to sigma_last. With one timestep it is
  /// sigma_last. Throws ValueError unless timesteps >= 1, 0 < sigma_first < sigma_last, rho > 0.
  static NoiseSchedule karras(std::int64_t timesteps = 1000, double sigma_first = 0.002,
                              double sigma_last = 80.0, double rho = 7.0);

  /// Any table of beta_1 .. beta_T. Throws ValueError unless all lie in (0, 1) and there is one.
  static NoiseSchedule from_betas(std::vector<double> betas);
  /// Any table of alpha_bar_1 .. alpha_bar_T. Throws ValueError unless it falls strictly, from less
  /// than 1; the last may be 0.
  static NoiseSchedule from_alpha_bars(const std::vector<double>& alpha_bars);
  /// Any table of sigma(0) .. sigma(T - 1), the noise of x_t / sqrt(alpha_bar_t): the schedule with
  /// alpha_bar = 1 / (1 + sigma^2). Throws ValueError unless it is finite and rises strictly from
  /// above 0.
  static NoiseSchedule from_sigmas(const std::vector<double>& sigmas);

  /// The schedule of the chain over the timesteps `visited` alone, with the same alpha_bar bit for
  /// bit: its timestep i is visited[i] of this one (Nichol & Dhariwal 2021, eq. 19). Throws
  /// ValueError unless they rise strictly within [0, T) and there is one.
  NoiseSchedule respaced(const std::vector<std::int64_t>& visited) const;

  /// This schedule with sqrt(alpha_bar) shifted to 0 at the last timestep and scaled to its old
  /// value at the first: the last image is noise and nothing else (Lin et al. 2023, arXiv
  /// 2305.08891, algorithm 1). A prediction of eps says nothing about x_0 there: predict v or x0.
  /// Throws ValueError unless T >= 2.
  NoiseSchedule with_zero_terminal_snr() const;

  /// One of the schedules above by the name that programs and checkpoints use. Throws ValueError
  /// for a name that names() has not.
  static NoiseSchedule named(const std::string& name, std::int64_t timesteps = 1000);
  static std::vector<std::string> names();

  std::int64_t timesteps() const { return static_cast<std::int64_t>(beta_.size()); }

  // Each throws ValueError when t is outside [0, T). alpha_bar and what is made of it alone also
  // take -1, the clean image.

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
  /// log snr, -infinity where alpha_bar is 0.
  double log_snr(std::int64_t t) const;

  /// sqrt((1 - alpha_bar) / alpha_bar), the noise of x_t / sqrt(alpha_bar_t) = x_0 + sigma eps: the
  /// level by which Karras et al. 2022 count. 0 at t = -1, infinity where alpha_bar is 0.
  double sigma(std::int64_t t) const;
  /// log(sqrt_alpha_bar / sqrt_one_minus_alpha_bar) = -log sigma, half of log_snr: the time of the
  /// DPM-Solvers (Lu et al. 2022, arXiv 2206.00927). Infinity at t = -1.
  double lambda(std::int64_t t) const;
  /// The timestep whose log sigma is nearest to that of `sigma`; the last for infinity. Throws
  /// ValueError unless sigma > 0.
  std::int64_t nearest_timestep(double sigma) const;

  /// Whether the last alpha_bar is 0.
  bool has_zero_terminal_snr() const { return alpha_bar_.back() == 0.0; }

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
  /// f(t[n]) for each sample of x [N, ...], from that table in x's dtype on x's device:
  /// [N, 1, ..., 1]. t: i64 [N].
  Tensor per_sample(Coefficient f, const Tensor& t, const Tensor& x) const;

 private:
  explicit NoiseSchedule(std::vector<double> betas);
  /// alpha_bar and its logarithm, each with the digits that the other has lost.
  NoiseSchedule(std::vector<double> alpha_bar, std::vector<double> log_alpha_bar);
  std::size_t index(std::int64_t t) const;

  std::vector<double> beta_;
  std::vector<double> alpha_bar_;
  std::vector<double> log_alpha_bar_;  // by log1p: keeps the digits that 1 - alpha_bar would lose
  struct Tables;
  std::shared_ptr<Tables> tables_;  // of table(), shared by the copies of a schedule
};

}  // namespace ito
