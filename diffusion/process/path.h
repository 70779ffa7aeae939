// Path: the noise levels of a process with a continuous time, as functions of it.
//
//   const Path path = Path::rectified_flow();
//   const Tensor t = path.draw_times(rng, batch);                 // [N]
//   const Levels levels = path.levels(t, x0);
//   const Tensor x_t = add_noise(x0, eps, levels);
//   const std::vector<Level> steps = sampling_levels(path, 20, Spacing::karras);
//
//   path            time            alpha                     sigma
//   vp              0 .. 1          exp(-B(t) / 2)            sqrt(1 - alpha^2)
//   sub_vp          0 .. 1          exp(-B(t) / 2)            1 - alpha^2
//   ve              0 .. 1          1                         sigma_min (sigma_max / sigma_min)^t
//   edm             sigma           1                         sigma
//   rectified_flow  0 .. 1          1 - t                     t
//
// with B(t) = beta_min t + (beta_max - beta_min) t^2 / 2. The first three are the SDEs of Song et
// al. 2021 (arXiv 2011.13456, appendix B); edm is Karras et al. 2022 (arXiv 2206.00364); the last
// Liu et al. 2022 (arXiv 2209.03003). Time grows with the noise on all of them.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "diffusion/process/level.h"
#include "tensor/rng.h"
#include "tensor/tensor.h"

namespace ito {

class Path {
 public:
  /// DDPM in continuous time. Throws ValueError unless 0 < beta_min < beta_max.
  static Path vp(double beta_min = 0.1, double beta_max = 20.0);
  /// The same alpha with less noise. Throws as vp.
  static Path sub_vp(double beta_min = 0.1, double beta_max = 20.0);
  /// Throws ValueError unless 0 < sigma_min < sigma_max.
  static Path ve(double sigma_min = 0.01, double sigma_max = 50.0);
  /// Times are drawn with ln sigma ~ N(log_mean, log_stddev^2), samplers go from sigma_max to
  /// sigma_min. Throws ValueError unless 0 < sigma_min < sigma_max.
  static Path edm(double sigma_min = 0.002, double sigma_max = 80.0, double log_mean = -1.2,
                  double log_stddev = 1.2);
  /// The straight line from the image to the noise, with t in [t_min, 1].
  static Path rectified_flow(double t_min = 1e-3);
  /// One of your own. `alpha_and_sigma(t)` returns the two as a std::pair, for a double and for a
  /// tensor of times [N]; sigma / alpha must grow with t. Throws ValueError unless 0 <= min_time <
  /// max_time.
  template <class F>
  static Path of(double min_time, double max_time, F alpha_and_sigma) {
    Path path(min_time, max_time);
    path.at_ = alpha_and_sigma;
    path.of_each_ = alpha_and_sigma;
    return path;
  }

  /// The times between which samplers go and, but for edm, times are drawn.
  double min_time() const { return min_time_; }
  double max_time() const { return max_time_; }

  /// The level at a time of at least 0. Throws ValueError for a time that is not.
  Level level(double time) const;
  /// The levels of each sample of x [N, ...], time [N] in x's dtype on its device. Throws
  /// ShapeError, DTypeError.
  Levels levels(const Tensor& time, const Tensor& x) const;
  /// The level with this sigma / alpha; that of min_time or max_time beyond these. Throws
  /// ValueError unless noise_to_signal > 0.
  Level level_at(double noise_to_signal) const;

  /// n times to train at, [n]: uniform between the ends, but for edm.
  Tensor draw_times(Rng& rng, std::int64_t n, DType dtype = DType::f32,
                    Device device = Device::cpu()) const;

 private:
  Path(double min_time, double max_time);

  double min_time_, max_time_;
  std::function<std::pair<double, double>(double time)> at_;              // alpha, sigma
  std::function<std::pair<Tensor, Tensor>(const Tensor& time)> of_each_;  // the same, [N] each
  std::function<Tensor(const Tensor& normal)> draw_;  // times of normal numbers; else uniform
};

}  // namespace ito
