// The samplers by name, with their flags: which there are, what suits each, which flags belong to
// which.
//
//   SamplerChoice choice;
//   add_sampler_flags(line, choice);
//   line.parse(argc, argv);
//   check_sampler_flags(line, choice);
//   const SamplerPlan plan = plan_sampler(choice, model.card);   // steps, spacing, as it is
//   Tensor x0 = run_sampler(plan, schedule, denoiser, x_T, rng, observer);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "diffusion/models/model_file.h"
#include "diffusion/sampling/samplers.h"
#include "examples/app/command_line.h"

namespace ito::app {

/// What the flags say.
struct SamplerChoice {
  std::string name = "ddim";
  std::int64_t steps = 0;          ///< 0: what suits the sampler
  std::string spacing = "usual";   ///< or a name of Spacing, or linspace
  double eta = 0.0;                ///< of ddim
  std::string variance = "usual";  ///< of ddpm
  double churn = 0.0;              ///< of heun
  bool no_clip = false;
  double threshold = 0.0;  ///< quantile of dynamic thresholding; 0: clipping
  bool no_graph = false;
};

/// What is done: everything decided.
struct SamplerPlan {
  SamplerChoice choice;
  std::int64_t steps = 0;
  Spacing spacing = Spacing::even;
  std::int64_t offset = 0;  ///< of leading spacing
  double clip = 1.0;        ///< 0: none
  double threshold = 0.0, max_threshold = 1.0;
  bool deterministic = false;  ///< x_T alone decides the images

  /// For people: "ddim, 50 steps, even, eta 0".
  std::string text() const;
};

/// --sampler, --steps, --spacing, --eta, --variance, --churn, --no-clip, --threshold, --no-graph.
void add_sampler_flags(CommandLine& line, SamplerChoice& choice);
/// Throws ProgramError (usage) for flags of another sampler and for two that exclude each other.
void check_sampler_flags(const CommandLine& line, const SamplerChoice& choice);

/// A table of all samplers, a line each: order, evaluations of the network, whether it draws noise,
/// source.
std::string list_of_samplers();

/// What the flags say and, where they say nothing, the model. Throws ProgramError (usage) for more
/// steps than it has timesteps.
SamplerPlan plan_sampler(const SamplerChoice& choice, const ModelCard& model);
/// The levels that the plan goes through.
std::vector<Level> levels_of(const SamplerPlan& plan, const NoiseSchedule& schedule);

/// From x_T to x_0. Throws what the sampler throws.
Tensor run_sampler(const SamplerPlan& plan, const NoiseSchedule& schedule, const Denoiser& model,
                   const Tensor& x_T, const Rng& rng, const Observer& observer = {});

}  // namespace ito::app
