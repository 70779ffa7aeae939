// What a checkpoint of a training run holds, and moving it to and from disk.
//
//   const training::Learner learner{flat, adam, &ema};
//   const training::TrainingState state{.step = 500, .learning = "{}"};
//   nn::save_checkpoint("out/run/checkpoints", state.step,
//                       training::checkpoint_contents(learner, state, {}));
//
//   const nn::Checkpoint checkpoint = nn::load_checkpoint("out/run");
//   training::restore(learner, checkpoint);
//   const training::TrainingState restored = training::parse_state(checkpoint);
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "diffusion/training/metrics.h"
#include "nn/adam.h"
#include "nn/checkpoint.h"
#include "nn/ema.h"
#include "nn/flat.h"

namespace ito::training {

/// One more file of a checkpoint, for what learns besides weights, average and optimiser.
struct NamedState {
  std::string file;  ///< "timesteps.safetensors"
  std::function<nn::TensorFile()> save;
  std::function<void(const nn::SafeTensors&)> restore;  ///< throws FormatError
};

/// Everything that learns. References to what the training loop owns.
struct Learner {
  nn::FlatParameters& flat;
  nn::Adam& adam;
  nn::Ema* ema = nullptr;
  std::vector<NamedState> more = {};
};

/// The rest. Random numbers are functions of the step, so there is no generator to save.
struct TrainingState {
  std::int64_t step = 0;   ///< steps made
  std::int64_t epoch = 0;  ///< where the next step reads the data set; for people
  std::int64_t cursor = 0;
  std::int64_t bad_in_a_row = 0;    ///< steps without an update up to here
  std::uint64_t metrics_bytes = 0;  ///< length of metrics.jsonl
  MetricsWindow window;
  double lr = 0;                ///< of the last step, for the last line of metrics.jsonl
  std::string learning = "{}";  ///< JSON: what decides the bits that are learnt
};

/// The files of a checkpoint: model.safetensors, ema.safetensors (where there is an average) and
/// optimizer.safetensors, state.json and those of `learner.more`. `metadata` describes the network
/// in the first two.
nn::CheckpointContents checkpoint_contents(const Learner& learner, const TrainingState& state,
                                           const nn::Metadata& metadata);

/// Reads state.json. Throws FormatError.
TrainingState parse_state(const nn::Checkpoint& checkpoint);

/// Fills the learner from the checkpoint's files. Throws FormatError.
void restore(const Learner& learner, const nn::Checkpoint& checkpoint);

/// Throws ValueError unless `json` is a JSON object.
void expect_object(const char* name, const std::string& json);

/// One line for each difference of two TrainingState::learning: "lr: 0.001 in the checkpoint, 0.002
/// now". `before` is a JSON object of what checkpoints meant that lack a key. Throws FormatError
/// when `stored` is not a JSON object.
std::vector<std::string> differences(const std::string& stored, const std::string& now,
                                     const std::string& before);

}  // namespace ito::training
