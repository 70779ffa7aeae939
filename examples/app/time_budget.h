// --minutes: how many steps of training fit into a time. A few steps are timed and undone, their
// number is fixed from that once, and from then on the run is one of so many steps:
//
//   const StepTime time = measure_steps(budget, {.step = make_step, .wait = wait});
//   const BudgetCosts costs = {.budget = budget, .used = process_seconds(), .step = time.seconds};
//   const std::int64_t steps = affordable_steps(costs);          // the most that fit, at least 1
//   print(stderr, "plan      {}\n", budget_text(costs, time, steps, batch, "images"));
//
// A run directory keeps the number in its config.json, so that a run that is continued ends with
// the same bits (read_plan). The time is aimed at, not enforced: a machine that becomes slower
// later takes longer.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "examples/app/run_flags.h"

namespace ito::app {

/// Since this process started.
double process_seconds();

/// What a time has to pay for, in seconds.
struct BudgetCosts {
  double budget = 0;      ///< all of it
  double used = 0;        ///< gone already
  double step = 0;        ///< one step of training
  double grid = 0;        ///< one grid of samples,
  double checkpoint = 0;  ///< one checkpoint, with the report that is written beside it
  std::int64_t grid_every = 0, checkpoint_every = 0;  ///< steps between two; 0: only at the end

  /// Of the grids and checkpoints of N steps, with e steps between two and always one at the end:
  ///   grid ceil(N / e) + checkpoint ceil(N / e'),   where ceil(N / 0) is 1.
  double extras(std::int64_t steps) const;
  /// used + N step + extras(N)
  double total(std::int64_t steps) const;
};

/// The largest N from 1 to 10^9 with total(N) <= budget; 1 when there is none.
std::int64_t affordable_steps(const BudgetCosts& costs);

/// How long a step takes.
struct StepTime {
  double seconds;      ///< the median
  std::int64_t steps;  ///< of so many
};

/// What is timed.
struct BudgetTrial {
  std::function<void(std::int64_t)> step;       ///< makes the step of that number
  std::function<void()> wait;                   ///< for the device,
  std::int64_t most_between = 1;                ///< after at most so many steps
  std::function<void(std::int64_t)> grid = {};  ///< draws one in so many steps of the sampler
};

/// Makes steps 0, 1, ...: 1 to 3 to get going, then for 2 % of the budget, at least 3. No further
/// one is begun after a quarter of the budget or 5 s; a step that takes longer than that is the
/// only one. Throws ProgramError when a signal comes.
StepTime measure_steps(double budget, const BudgetTrial& trial);

/// What learns, as it was, to put back after steps that do not count. The arguments must outlive
/// it.
class LearnerSnapshot {
 public:
  LearnerSnapshot(nn::FlatParameters& flat, nn::Adam& adam, nn::Ema* average = nullptr);
  void restore();

 private:
  nn::FlatParameters& flat_;
  nn::Adam& adam_;
  nn::Ema* average_;
  Tensor values_, m_, v_, averaged_;
  std::int64_t steps_, skipped_, updates_ = 0;
};

/// "3120 steps of 32 images in 5 min (92 ms a step measured over 20 steps, 2 % for samples and
/// checkpoints)"; says so when not even one step fits.
std::string budget_text(const BudgetCosts& costs, const StepTime& time, std::int64_t steps,
                        std::int64_t batch, const char* unit);

/// read_plan() for a run that is continued, else a measured number, as before
/// to the last bit, and follow_steps(). Returns a line of text for people. Throws what these throw.
std::string fix_steps(RunFlags& options, const training::Learner& learner, const BudgetTrial& trial,
                      const char* unit);

/// Sets options.steps, and the warm-up (a fortieth, at least 1 step and below all) and the decay
/// (to the last step) where no flag gave them. Throws ProgramError (usage) when the decay is not
/// above the warm-up.
void follow_steps(RunFlags& options, std::int64_t steps);

/// Sets the same from the config.json of the run that --resume names, which was begun with the same
/// --minutes. False when that run has not begun yet: no config.json and no checkpoint. Throws
/// ProgramError: checkpoint (no config.json, a damaged one, or one of another budget or of none),
/// and as above.
bool read_plan(RunFlags& options);

/// The --minutes that the run to be continued was begun with; 0 when it was given the steps, or
/// there is none.
double begun_with_minutes(const RunFlags& options);

}  // namespace ito::app
