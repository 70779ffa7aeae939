// nan_report.json: where a training run became NaN or infinite.
//
//   const Tensor losses = mean_flat(square(unet(x_t, t) - eps));
//   const training::NonFiniteReport report = training::explain_non_finite(
//       step, {.losses = losses, .t = t}, nn::grad_norm(flat), lr, flat);
//   fmt::print("{}\n", report.first_bad);   // loss losses f32[64] on cpu: element 17 is nan
#pragma once

#include <string>

#include "diffusion/training/training_run.h"

namespace ito::training {

struct NonFiniteReport {
  std::string first_bad;  ///< "parameter conv_in.weight f32[32, 3, 3, 1] on cpu: element 17 is nan"
  std::string json;
};

/// Looks for the first bad tensor in the order of the computation: what went in, the parameters,
/// the losses, the gradients from the output of the network backwards. The JSON also has the
/// losses, the timesteps and what went in as whole numbers (which images).
NonFiniteReport explain_non_finite(std::int64_t step, const StepTensors& tensors, double grad_norm,
                                   double lr, const nn::FlatParameters& flat);

}  // namespace ito::training
