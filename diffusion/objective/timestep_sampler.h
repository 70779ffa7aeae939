// Which timesteps to train on, drawn with a probability that grows with the size of their loss: the
// terms of the variational bound differ by orders of magnitude, and drawn uniformly their sum is
// noisy (Nichol & Dhariwal 2021, arXiv 2102.09672, section 3.3).
//
//   TimestepSampler timesteps(schedule.timesteps());
//   const VariationalBound bound(schedule, {.variance = ReverseVariance::learned});
//   const auto [t, weight] = timesteps.draw(rng, batch);
//   const Levels levels = schedule.levels(t, x0);
//   const Tensor x_t = add_noise(x0, eps, levels);
//   const Tensor losses = bound_losses(bound, model(x_t, levels), x_t, x0, t, eps);
//   backward(mean(weight * losses));                  // the same expectation as with uniform t
//   timesteps.update(t, losses);
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/rng.h"
#include "tensor/tensor.h"

namespace ito {

class TimestepSampler {
 public:
  /// Remembers the last `history` losses of each of T timesteps. `uniform_share` of the draws are
  /// uniform, so that none is ever forgotten. Throws ValueError unless T, history >= 1 and
  /// 0 <= uniform_share <= 1.
  explicit TimestepSampler(std::int64_t timesteps, std::int64_t history = 10,
                           double uniform_share = 0.001);

  struct Draw {
    Tensor t;       ///< i64 [n]
    Tensor weight;  ///< f32 [n], 1 / (T p(t)): keeps the mean that uniform t would have
  };
  /// n timesteps, on the CPU: one uniform number each.
  Draw draw(Rng& rng, std::int64_t n) const;

  /// p(t), proportional to sqrt(E[L_t^2]) (eq. 18); uniform until every timestep has a full
  /// history.
  std::vector<double> probabilities() const;

  /// Remembers losses [n] at timesteps i64 [n], unweighted and from any device; what is not finite
  /// is left out.
  void update(const Tensor& t, const Tensor& losses);
  void update(const std::vector<std::int64_t>& t, const std::vector<float>& losses);

  /// Everything that it remembers, f32 [T, history + 1], for a checkpoint: each row a number of
  /// losses and these, oldest first.
  Tensor state() const;
  /// Throws ShapeError, DTypeError, ValueError when that is not such a state.
  void restore(const Tensor& state);

 private:
  std::int64_t history_;
  double uniform_share_;
  std::vector<std::vector<float>> losses_;  // by timestep, oldest first
};

}  // namespace ito
