// nan_report.json: where a training run became NaN or infinite.
#pragma once

#include <string>

#include "examples/app/training_run.h"

namespace ito::app {

struct NonFiniteReport {
  std::string first_bad;  ///< "parameter conv_in.weight f32[32, 3, 3, 1] on cpu: element 17 is nan"
  std::string json;
};

/// Looks for the first bad tensor in the order of the computation: the batch, the parameters, the
/// loss of each image, the gradients from the output of the network backwards.
NonFiniteReport explain_non_finite(std::int64_t step, const StepTensors& tensors, double grad_norm,
                                   double lr, const nn::FlatParameters& flat);

}  // namespace ito::app
