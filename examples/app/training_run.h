// Everything around a training loop that is not the mathematics: the run directory, continuing an
// earlier run, progress, metrics, sample grids, checkpoints, the report, signals and NaN.
//
//   app::TrainingRun run(options, dataset, config, std::cref(unet), {flat, adam, ema});
//   Graph step_of_training(device, [&] { ...; adam.step_if_finite(...); run.record(...); });
//   const auto lr = run.begin([&](std::int64_t step) { ...; step_of_training.run(); });
//   for (std::int64_t step = run.first_step(); run.goes_on(step);) {
//     ...
//     step_of_training.run();
//     step = run.end_of_step(step, lr);
//   }
//   return run.finish();
//
// On the CPU every step is looked at when it is made. On a GPU steps are looked at every
// --log-every steps (at most 100), so that the device never waits for the host; what a step
// computed is kept there until then (nn/step_history.h).
//
// Not a trainer: it never computes a loss nor changes a weight, except to load them.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "data/dataset.h"
#include "diffusion/denoiser/condition.h"
#include "diffusion/models/unet_config.h"
#include "examples/app/exit_codes.h"
#include "examples/app/train_options.h"
#include "examples/app/training_state.h"

namespace ito::app {

/// So many steps in a row without an update, because something was not finite, end a run.
inline constexpr std::int64_t most_bad_in_a_row = 5;

/// What one step of the loop computed, on its device.
struct StepTensors {
  Tensor images;         ///< i64 [N], indices of the batch in the data set
  Tensor x0, t, losses;  ///< [N, H, W, C], i64 [N], [N]
};

class TrainingRun {
 public:
  /// Opens the run directory. `model` computes with the learner's weights, without dropout; it gets
  /// labels where the network knows classes. All arguments but the first must outlive this. Throws
  /// ProgramError: usage (directory in use or not empty).
  TrainingRun(const TrainOptions& options, const data::Dataset& dataset, const UNetConfig& network,
              ConditionalNetwork model, Learner learner);
  ~TrainingRun();

  /// Begins the run or, with --resume, fills the learner from its checkpoint. With --minutes it
  /// first fixes the number of steps: where no earlier process has, by making some with `step(0)`,
  /// `step(1)`, ..., which then are undone to the last bit. Returns the learning rate. Throws
  /// ProgramError: checkpoint (damaged, or of another configuration), and those of read_plan() and
  /// follow_steps() (time_budget.h).
  nn::LrSchedule begin(const std::function<void(std::int64_t)>& step);

  /// 0, or the step after the checkpoint's last.
  std::int64_t first_step() const;
  /// False when all steps are made or, once all that were made have been looked at, a signal has
  /// come.
  bool goes_on(std::int64_t step) const;
  /// Keeps what the step computed until end_of_step looks at it. Part of the recorded work.
  void record(const StepTensors& tensors);
  /// Where due looks at the steps made, logs, draws samples, saves, writes the report. Returns the
  /// next step. After five steps in a row that are not finite, writes nan_report.json and throws
  /// ProgramError (non_finite); when they are noticed later, the fifth is asked for once more, to
  /// find what was not finite first (it changes nothing). Throws ProgramError (resource) when the
  /// disk is full: the last checkpoint is then intact.
  std::int64_t end_of_step(std::int64_t step, double lr);
  /// Closes the run. The program's exit code: success, or that of the signal.
  ExitCode finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ito::app
