// Bits per dimension of real images under a trained model.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "data/dataset.h"
#include "diffusion/models/model_file.h"
#include "examples/app/evaluation_report.h"

namespace ito::app {

struct BoundRequest {
  std::int64_t images = 100;            ///< of the test split, the first
  std::int64_t steps = 0;               ///< of the chain; 0: all timesteps
  std::int64_t draws = 0;               ///< > 0: estimated from so many terms of each image
  std::string variance = "beta-tilde";  ///< of its steps, by name
  std::int64_t seed = 0;                ///< of the noise
  std::int64_t batch = 100;             ///< images computed at a time
  bool quiet = false;
};

/// The variational bound, with the class of each image given to a network that knows classes.
/// `load` gives a split of the data set; "analytic" needs the train split too, for as many images.
/// Throws ProgramError (usage) when images or steps do not suit the model; a stop signal ends it
/// with one.
BoundReport measure_bound(const Model& model, const std::function<data::Dataset(data::Split)>& load,
                          const BoundRequest& request, Device device);

}  // namespace ito::app
