// Everything around a training loop that is not its mathematics: the run directory, continuing an
// earlier run with the same bits, metrics, checkpoints, NaN, and when to draw samples.
//
//   training::TrainingRun run(
//       {.directory = "out/run", .resume = "auto", .batch = 64, .losses = 64, .checkpoint_every =
//       100}, {flat, adam, &ema});
//   run.begin({.steps = 1000, .learning = R"({"lr": 0.001})"});
//   adam.set_lr(0.001);
//   for (std::int64_t step = run.first_step(); run.should_continue(step);) {
//     const Tensor losses = mean_flat(square(unet(x_t, t) - eps));   // all follows from `step`
//     flat.zero_grad();
//     backward(mean(losses));
//     adam.step_if_finite({.average = &ema, .losses = losses});
//     run.record({.losses = losses, .t = t});
//     step = run.end_of_step(step, 0.001);
//   }
//   run.finish();
//
// What learns besides weights, average and Adam is saved and restored as a NamedState of the
// Learner (training_state.h).
//
// On the CPU every step is looked at when it is made. On a GPU steps are looked at every
// `log_every` steps (at most 100), so that the device never waits for the host; what a step
// computed is kept there until then (nn/step_history.h).
//
// A run is a function of its configuration if its loop takes every random number from the step:
// then it ends with the same bits however often it was stopped, by a signal or by kill -9.
//
// Not a trainer: it never computes a loss nor changes a weight, except to load them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "diffusion/training/run_directory.h"
#include "diffusion/training/run_error.h"
#include "diffusion/training/training_state.h"

namespace ito::training {

/// So many steps in a row without an update, because something was not finite, end a run.
inline constexpr std::int64_t max_consecutive_skips = 5;

/// What one step of the loop computed, on its device.
struct StepTensors {
  Tensor losses;                             ///< f32 [RunOptions::losses]
  Tensor t = {};                             ///< i64 of the same shape: their timesteps, if any
  std::vector<nn::NamedTensor> inputs = {};  ///< to be named when something is not finite
};

struct RunOptions {
  std::string directory;
  /// "": a new run, and an error where `directory` holds one. "auto": from the newest good
  /// checkpoint, or from step 0 where there is none. Or a run or checkpoint directory.
  std::string resume = {};
  bool overwrite = false;       ///< an earlier run in `directory` is removed first
  std::int64_t batch = 1;       ///< samples of a step, for the speed,
  std::int64_t losses = 1;      ///< and the losses that a step records
  std::int64_t dataset = 0;     ///< samples of the data set, for the epoch; 0: there is none
  std::int64_t timesteps = 0;   ///< T, to part the losses by t; 0: there are no timesteps
  bool look_at_each = false;    ///< also on a GPU: the next step depends on the losses
  std::int64_t log_every = 10;  ///< steps of one line of metrics.jsonl
  std::int64_t checkpoint_every = 0, preview_every = 0;  ///< 0: only at the end
  std::int64_t keep_last = 3;                            ///< checkpoints
  nn::Metadata metadata = {};                            ///< of the files with weights
};

/// What the program does at certain moments. Any may be empty.
struct RunHooks {
  std::function<void(const std::string&)> note = {};     ///< a line for people
  std::function<void(const std::string&)> warning = {};  ///< a line for stderr, also when quiet
  /// A step was looked at: the number of steps made, its mean loss, norm of the gradient and rate.
  std::function<void(std::int64_t, double, double, double)> step = {};
  /// The timesteps and losses of a step that changed the weights.
  std::function<void(const std::vector<std::int64_t>&, const std::vector<float>&)> learned = {};
  /// Draws samples after so many steps, to RunDirectory::samples().
  std::function<void(std::int64_t)> preview = {};
  std::function<void(const std::string&)> report = {};  ///< "finished at step 4000"
  std::function<void(bool)> pause = {};                 ///< true: what follows is not training
  std::function<bool()> should_stop = {};               ///< a signal has come
};

/// Known when training begins.
struct RunPlan {
  std::int64_t steps = 0;
  /// JSON object of what decides the bits that are learnt: must agree when a run is continued.
  std::string learning = "{}";
  std::string config = "{}\n";                        ///< becomes config.json
  std::string before = "{}";                          ///< see differences()
  std::string advice = "give the flags of that run";  ///< where they do not agree
};

class TrainingRun {
 public:
  /// Opens the run directory. What `learner` refers to must outlive this. Throws RunError (usage).
  TrainingRun(const RunOptions& options, Learner learner, RunHooks hooks = {});
  ~TrainingRun();

  /// For steps that are made before begin(), to measure them: how many may be recorded before
  /// discard() has to forget them. It waits for the device.
  std::int64_t capacity() const;
  void discard();

  /// Begins the run or, with `resume`, fills the learner from its checkpoint. Throws ValueError
  /// when plan.learning is no JSON object; RunError: checkpoint (damaged, or of another
  /// configuration), resource.
  void begin(const RunPlan& plan);
  /// Where the loop begins: 0, or the step after the checkpoint's last.
  std::int64_t first_step() const;
  /// False when all steps are made or, once all that were made have been looked at, should_stop()
  /// is true.
  bool should_continue(std::int64_t step) const;
  /// Keeps what the step computed, with what Adam::step_if_finite has just made of it, until
  /// end_of_step looks at it. Part of the recorded work.
  void record(const StepTensors& tensors);
  /// Looks at the steps made, logs, draws samples, saves and writes the report, each when it is
  /// due. Returns the next step. After five steps in a row that are not finite, writes
  /// nan_report.json and throws RunError (non_finite). On a GPU they are noticed later: then it
  /// returns the number of the fifth once more, which changes no weight, to find out what was not
  /// finite first. Throws RunError (resource) when the disk is full: the last checkpoint is then
  /// intact.
  std::int64_t end_of_step(std::int64_t step, double lr);
  /// Saves if a signal came, writes the last line of metrics.jsonl (of fewer steps than log_every)
  /// and the last report.
  void finish();

  /// Steps that were made and looked at, with those before a run was continued.
  std::int64_t steps_made() const;
  const RunDirectory& directory() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ito::training
