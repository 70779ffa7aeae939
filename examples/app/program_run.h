// A training run of a program: diffusion/training's, with a bar, signals, --minutes, a table of
// facts at its beginning and a report that can be read at any time.
//
//   app::ProgramRun run(options, app::run_options(options), {flat, adam, &ema}, about);
//   const auto lr = run.begin([&](std::int64_t step) { make(step); });
//   for (std::int64_t step = run->first_step(); run->should_continue(step);) {
//     ...
//     step = run->end_of_step(step, lr(step));
//   }
//   return run.finish();
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "diffusion/training/training_run.h"
#include "examples/app/exit_codes.h"
#include "examples/app/progress.h"
#include "examples/app/report.h"
#include "examples/app/run_flags.h"

namespace ito::app {

/// What a program tells of its run.
struct RunDescription {
  std::string subject;          ///< what is learnt: "Fashion-MNIST"
  const char* unit = "images";  ///< of a batch
  const char* loss = "L_simple";
  std::vector<std::pair<std::string, std::string>> facts;  ///< for table and report
  std::vector<std::string> remarks = {};                   ///< lines below the table
  /// The options and what else decides the bits that are learnt, for config.json and for a run
  /// that is continued. Asked for when the number of steps is known.
  std::function<std::vector<OptionRow>()> rows;
  std::size_t data_bytes = 0;
  /// Draws a grid in so many steps of the sampler, u8 [H, W, C]. Throws PreviewStopped.
  std::function<Tensor(std::int64_t steps, bool graph)> grid = {};
  std::vector<std::pair<std::string, std::string>> grid_text = {};  ///< of the PNG
  std::vector<ReportPicture> noising = {};
  /// The timesteps and losses of each step that changed the weights.
  std::function<void(const std::vector<std::int64_t>&, const std::vector<float>&)> learned = {};
};

class ProgramRun {
 public:
  /// Opens the run directory. `options` may get its number of steps from --minutes. All arguments
  /// must outlive this. Throws RunError (usage).
  ProgramRun(RunFlags& options, const training::RunOptions& run, training::Learner learner,
             RunDescription about);
  ~ProgramRun();

  /// Begins the run or continues it. With --minutes it first fixes the number of steps: where no
  /// earlier process has, by making some with `step(0)`, `step(1)`, ..., which then are undone to
  /// the last bit. Returns the learning rate. Throws RunError (training::TrainingRun::begin) and
  /// ProgramError (time_budget.h).
  nn::LrSchedule begin(const std::function<void(std::int64_t)>& step);
  training::TrainingRun* operator->() { return run_.get(); }
  /// Closes the run. The program's exit code: success, or that of the signal.
  ExitCode finish();

 private:
  void say(const std::string& text);
  void draw(std::int64_t done);
  void write_report(const std::string& status);
  void print_table() const;

  RunFlags& options_;
  training::Learner learner_;
  RunDescription about_;
  bool by_timestep_;
  std::string plan_, config_;
  std::unique_ptr<Progress> progress_;
  std::unique_ptr<training::TrainingRun> run_;
};

}  // namespace ito::app
