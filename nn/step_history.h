// What the last steps of training computed: losses, timesteps, the norm of the gradients. Kept on
// the device, so that a step need not wait until the host has looked at it.
//
//   nn::StepHistory history(/*capacity=*/10, batch, device);
//   for (std::int64_t step = 0; step < steps; ++step) {
//     const Tensor losses = mean_flat(square(unet(x_t, t) - eps));
//     backward(mean(losses));
//     adam.step_if_finite({.losses = losses});
//     history.add(losses, t, adam);                       // can be recorded, waits for nothing
//     if (step % 10 == 9) fmt::print("{}\n", history.drain().back().grad_norm);
//   }
#pragma once

#include <cstdint>
#include <vector>

#include "nn/adam.h"

namespace ito::nn {

class StepHistory {
 public:
  struct Row {
    std::vector<float> losses;    ///< of each sample of the batch
    std::vector<std::int64_t> t;  ///< and its timestep
    double grad_norm;             ///< before clipping
    bool updated;                 ///< false: something was not finite and nothing has changed
  };

  /// Room for `capacity` steps of `batch` samples. Throws ValueError unless both are >= 1.
  StepHistory(std::int64_t capacity, std::int64_t batch, Device device);

  /// Appends the step that `adam` has just made with step_if_finite: losses f32 [batch], timesteps
  /// i64 [batch].
  void add(const Tensor& losses, const Tensor& t, const Adam& adam);
  /// The steps since the last drain(), oldest first; waits for the device. Throws Error when there
  /// were more than `capacity`: the oldest are lost.
  std::vector<Row> drain();

  std::int64_t capacity() const { return rows_.size(0); }
  /// Bytes that it keeps.
  std::size_t bytes() const { return rows_.bytes(); }

 private:
  std::int64_t batch_;
  Tensor rows_;      // f64 [capacity, 2 batch + 2]: a kernel::RecordStep
  Tensor position_;  // i64 [1]
};

}  // namespace ito::nn
