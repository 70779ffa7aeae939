// NoiseSchedule: the noise levels of a process with discrete timesteps, as tables in double
// precision. All are variance preserving: alpha^2 + sigma^2 = 1, alpha^2 = alpha_bar.
//
//   const NoiseSchedule schedule = NoiseSchedule::linear();   // T = 1000, beta from 1e-4 to 0.02
//   schedule.alpha_bar(999);                                  // 4.0358e-5
//   const Level level = schedule.level(999);                  // alpha = 0.00635, sigma = 0.99998
//   const Levels levels = schedule.levels(t, x0);             // of a batch, t i64 [N]
//
// The papers count timesteps 1 .. T and write alpha_bar_0 = 1 for "no noise". Here, as in every
// tensor that holds timesteps, t counts from 0: index t stands for the papers' t + 1; no noise is
// Level::clean().
//
// Tables of a schedule are part of what a checkpoint means: factories may be added, never changed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "diffusion/process/level.h"
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

  /// Any table of beta_1 .. beta_T. Throws ValueError unless all lie in (0, 1) and there is one;
  /// the last may be 1.
  static NoiseSchedule from_betas(std::vector<double> betas);
  /// Any table of alpha_bar_1 .. alpha_bar_T. Throws ValueError unless it falls strictly, from less
  /// than 1; the last may be 0.
  static NoiseSchedule from_alpha_bars(const std::vector<double>& alpha_bars);
  /// Any table of sigma(0) .. sigma(T - 1), the noise of x_t / sqrt(alpha_bar_t): the schedule with
  /// alpha_bar = 1 / (1 + sigma^2). Throws ValueError unless it is finite and rises strictly from
  /// above 0.
  static NoiseSchedule from_sigmas(const std::vector<double>& sigmas);

  /// The schedule of the chain over the timesteps `visited` alone, with the same levels bit for
  /// bit: its level(i) is level(visited[i]) of this one, time included, so that a network is asked
  /// at the timesteps that it knows (Nichol & Dhariwal 2021, eq. 19). Throws ValueError unless they
  /// rise strictly within [0, T) and there is one.
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

  // Each throws ValueError when t is outside [0, T).

  /// The level of timestep t.
  Level level(std::int64_t t) const;
  /// All levels, by timestep: least noise first.
  std::vector<Level> levels() const;
  /// The level of each sample of x [N, ...] (f32 or f64), t i64 [N] on its device: tables are
  /// looked up there. A t outside the schedule is a ValueError; while a graph is recorded
  /// (tensor/cuda_graph.h) t cannot be looked at, and then gives NaN. Throws ShapeError,
  /// DTypeError.
  Levels levels(const Tensor& t, const Tensor& x) const;
  /// The level with this sigma / alpha exactly. Between two timesteps its time is between theirs,
  /// in proportion to log(sigma / alpha); beyond the ends it is the level at the end. Throws
  /// ValueError unless noise_to_signal > 0.
  Level level_at(double noise_to_signal) const;

  /// Variance of the noise that step t adds: q(x_t | x_{t-1}) = N(sqrt(1 - beta) x_{t-1}, beta I).
  double beta(std::int64_t t) const;
  /// Product of 1 - beta over the steps up to t.
  double alpha_bar(std::int64_t t) const;
  /// With all its digits, also where alpha_bar is near 1.
  double one_minus_alpha_bar(std::int64_t t) const;

  /// Variance of q(x_{t-1} | x_t, x_0): beta (1 - alpha_bar_{t-1}) / (1 - alpha_bar_t) (Ho et al.,
  /// eq. 7). 0 at t = 0.
  double beta_tilde(std::int64_t t) const;
  /// log beta_tilde, with the value at t = 1 in place of log 0 at t = 0. With T = 1: log beta.
  double log_beta_tilde_clipped(std::int64_t t) const;

  /// alpha_bar / (1 - alpha_bar), the signal-to-noise ratio.
  double snr(std::int64_t t) const;
  /// log snr, -infinity where alpha_bar is 0.
  double log_snr(std::int64_t t) const;

  /// Whether the last alpha_bar is 0.
  bool has_zero_terminal_snr() const { return alpha_bar_.back() == 0.0; }

  /// KL(q(x_T | x_0) || N(0, I)) per dimension, in nats, for data with E[x_0^2] = second_moment:
  /// what starting the reverse process from pure noise ignores.
  double prior_kl(double second_moment = 1.0) const;

  friend bool operator==(const NoiseSchedule& a, const NoiseSchedule& b) {
    return a.log_alpha_bar_ == b.log_alpha_bar_ && a.times_ == b.times_;
  }

 private:
  explicit NoiseSchedule(std::vector<double> betas);
  /// alpha_bar and its logarithm, each with the digits that the other has lost.
  NoiseSchedule(std::vector<double> alpha_bar, std::vector<double> log_alpha_bar);
  std::size_t index(std::int64_t t) const;
  /// Time, alpha and sigma of all timesteps, [T] each, made by the first call for a dtype and
  /// device and kept as long as a copy of this schedule lives.
  Levels tables(DType dtype, Device device) const;

  std::vector<double> beta_;
  std::vector<double> alpha_bar_;
  std::vector<double> log_alpha_bar_;  // by log1p: keeps the digits that 1 - alpha_bar would lose
  std::vector<std::int64_t> times_;    // of the levels: 0, 1, 2, ... but for respaced()
  struct Tables;
  std::shared_ptr<Tables> tables_;  // shared by the copies of a schedule
};

}  // namespace ito
