// The loss that --loss-weight and --learn-variance describe, and the timesteps that --t-sampling
// chooses. Without these flags: L_simple, and uniform timesteps.
//
//   const TrainingLoss loss(options, schedule, parametrization, device);
//   Timesteps timesteps(options, device);
//   Graph step_of_training(device, [&] {
//     const Tensor t = timesteps.draw(rng);
//     const Levels levels = schedule.levels(t, x0);
//     const Tensor x_t = add_noise(x0, eps, levels);
//     const Tensor output = parametrization.call(network, x_t, levels);
//     const Tensor simple = parametrization.losses(output, x0, eps, levels);          // [N]
//     const Tensor losses = loss(simple, output, x_t, x0, t, eps, levels);            // [N]
//     backward(timesteps.mean(losses)); ...
//   });
//   for (...) { timesteps.prepare(number); step_of_training.run(); ... }
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "diffusion/denoiser/parametrization.h"
#include "diffusion/likelihood/variational_bound.h"
#include "diffusion/objective/timestep_sampler.h"
#include "diffusion/training/training_state.h"
#include "examples/app/train_options.h"

namespace ito::app {

class TrainingLoss {
 public:
  TrainingLoss(const TrainOptions& options, const NoiseSchedule& schedule,
               const Parametrization& parametrization, Device device);

  /// The loss of each image, [N], from L_simple of each and the network's output at x_t. Free of
  /// host work in a graph.
  Tensor operator()(const Tensor& simple, const Tensor& output, const Tensor& x_t, const Tensor& x0,
                    const Tensor& t, const Tensor& eps, const Levels& levels) const;

 private:
  Parametrization parametrization_;
  Tensor weights_;                         // by timestep; undefined: 1
  std::optional<VariationalBound> bound_;  // where it is (part of) the loss
  bool bound_alone_ = false;
};

class Timesteps {
 public:
  Timesteps(const TrainOptions& options, Device device);

  /// Before the step `number`: what is drawn on the host is drawn and copied.
  void prepare(std::int64_t number);
  /// The timestep of each image, i64 [N]; part of the recorded step.
  Tensor draw(Rng& rng) const;
  /// The mean of losses [N] that uniform timesteps would have.
  Tensor mean(const Tensor& losses) const;

  /// What learns from the losses of steps, for a run; nothing for uniform timesteps.
  std::vector<training::NamedState> states();
  std::function<void(const std::vector<std::int64_t>&, const std::vector<float>&)> observer();

 private:
  Rng rng_;
  std::int64_t timesteps_;
  Device device_;
  Shape batch_;
  std::optional<TimestepSampler> sampler_;
  Tensor t_, weight_;  // drawn by importance
};

}  // namespace ito::app
