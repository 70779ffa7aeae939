// Everything around a training loop that is not the mathematics: the run directory, continuing an
// earlier run, progress, metrics, sample grids, checkpoints, the report, signals and NaN.
//
//   app::TrainingRun run(options, dataset, config, process, denoiser, {flat, adam, ema});
//   for (std::int64_t step = run.first_step(); run.goes_on(step); ++step) {
//     ...
//     if (run.is_finite(step, result)) { adam.step(...); ema.update(); }
//     run.end_of_step(step, result);
//   }
//   return run.finish();
//
// Not a trainer: it never computes a loss nor changes a weight, except to load them.
#pragma once

#include <memory>
#include <vector>

#include "data/dataset.h"
#include "diffusion/gaussian_diffusion.h"
#include "diffusion/models/unet_config.h"
#include "examples/app/exit_codes.h"
#include "examples/app/train_options.h"
#include "examples/app/training_state.h"

namespace ito::app {

/// What one step of the loop computed.
struct StepResult {
  const std::vector<std::int64_t>& images;  ///< indices of the batch in the data set
  Tensor x0, t, losses;                     ///< [N, H, W, C], i64 [N], [N]
  double grad_norm;
  double lr;
};

class TrainingRun {
 public:
  /// Opens the run directory and, with --resume, fills the learner from its checkpoint. `model`
  /// computes with the learner's weights, without dropout. All arguments must outlive this. Throws
  /// ProgramError: usage (directory in use or not empty), checkpoint (damaged, or of another
  /// configuration).
  TrainingRun(const TrainOptions& options, const data::Dataset& dataset, const UNetConfig& network,
              const GaussianDiffusion& process, Denoiser model, Learner learner);
  ~TrainingRun();

  /// 0, or the step after the checkpoint's last.
  std::int64_t first_step() const;
  /// False when all steps are made or a signal has come.
  bool goes_on(std::int64_t step) const;
  /// Whether loss and gradients are finite, so that they may be used. After five steps in a row
  /// that are not, writes nan_report.json and throws ProgramError (non_finite).
  bool is_finite(std::int64_t step, const StepResult& result);
  /// Logs; where due draws samples, saves, writes the report. Throws ProgramError (resource) when
  /// the disk is full: the last checkpoint is then intact.
  void end_of_step(std::int64_t step, const StepResult& result);
  /// Closes the run. The program's exit code: success, or that of the signal.
  ExitCode finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ito::app
