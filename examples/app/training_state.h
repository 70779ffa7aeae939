// What a checkpoint of a training run holds besides the network, and moving both to and from disk.
#pragma once

#include <cstdint>
#include <string>

#include "diffusion/objective/timestep_sampler.h"
#include "examples/app/metrics.h"
#include "nn/adam.h"
#include "nn/checkpoint.h"
#include "nn/ema.h"
#include "nn/flat.h"

namespace ito::app {

/// Everything that learns. References to what the training loop owns.
struct Learner {
  nn::FlatParameters& flat;
  nn::Adam& adam;
  nn::Ema& ema;
  TimestepSampler* timesteps = nullptr;  ///< where timesteps are drawn by importance
};

/// The rest. Random numbers are functions of the step, so there is no generator to save.
struct TrainingState {
  std::int64_t step = 0;   ///< steps made
  std::int64_t epoch = 0;  ///< where the next step reads the data set; for people
  std::int64_t cursor = 0;
  std::int64_t bad_in_a_row = 0;    ///< steps without an update up to here
  std::uint64_t metrics_bytes = 0;  ///< length of metrics.jsonl
  MetricsWindow window;
  std::string learning;  ///< learning_json of the run
};

/// The files of a checkpoint. `card` is the JSON text of the model's card.
nn::CheckpointContents checkpoint_contents(const Learner& learner, const TrainingState& state,
                                           const std::string& card);

/// Reads state.json. Throws FormatError.
TrainingState parse_state(const nn::Checkpoint& checkpoint);

/// Fills the learner from the checkpoint's files. Throws FormatError.
void restore(const Learner& learner, const nn::Checkpoint& checkpoint);

}  // namespace ito::app
