// --profile of the training programs: where the time of a few steps goes.
//
//   app::StepProfile profile(options, unet);
//   for (...) { ...; profile.run(step_of_training); }
#pragma once

#include <string>

#include "examples/app/train_options.h"
#include "nn/name_layers.h"
#include "tensor/graph.h"
#include "tensor/profile.h"

namespace ito::app {

class StepProfile {
 public:
  static constexpr int warmup = 2, steps = 5;

  /// The network must stay where it is.
  template <nn::Module M>
  StepProfile(const TrainOptions& options, M& network)
      : enabled_(options.profile), folder_(options.run) {
    nn::name_layers(profile_, network);
  }

  /// step.run(); with --profile the steps after the warm-up are recorded, and after the last of
  /// them profile.txt and profile.json are written. Throws ProgramError (resource).
  void run(Graph& step);

 private:
  void write() const;

  bool enabled_;
  std::string folder_;
  int made_ = 0;
  profile::Profile profile_;
};

}  // namespace ito::app
