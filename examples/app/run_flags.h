// What the training programs have in common: how long, where, how often to save.
//
//   struct Options : RunFlags { double weight_decay = 0.05; };
//   template <class O, class V> void visit(O& o, V& v) { ...; visit_run_flags(o, v); }
#pragma once

#include <cstdint>
#include <string>

#include "diffusion/training/training_run.h"
#include "examples/app/option_list.h"
#include "nn/lr_schedule.h"

namespace ito::app {

struct RunFlags {
  std::string program;      ///< "train_mnist"
  std::string description;  ///< for --help

  // The length, and the learning rate over it.
  std::int64_t steps = 0;
  double minutes = 0;  ///< > 0: steps follow from the time of one (time_budget.h); 0 until then
  bool warmup_follows = false, decay_follows = false;  ///< and these from the number of steps
  std::int64_t batch = 0;
  double lr = 2e-4;
  std::int64_t warmup = 0;
  std::int64_t lr_decay = 0;  ///< step at which the rate has fallen to 0; 0: it stays
  std::int64_t seed = 0;

  // The run. Nothing here changes what is learnt.
  std::string run;     ///< its directory
  std::string resume;  ///< "", "auto", or a run or checkpoint directory
  bool overwrite = false;
  std::int64_t checkpoint_every = 0;
  std::int64_t keep_last = 3;
  std::int64_t log_every = 10;
  std::int64_t sample_every = 0;  ///< steps between grids
  std::int64_t sample_steps = 50;
  std::int64_t sample_count = 0;  ///< images of one; 0: there are none
  std::int64_t threads = 0;       ///< 0: as many as the machine has
  std::string device = "auto";
  bool graph = true;  ///< record a step and replay it, on CUDA
  bool quiet = false;
};

/// --steps and --minutes.
template <class Options, class Visitor>
void visit_length(Options& o, Visitor& v) {
  v("--steps", o.steps, IntRange{1, 1'000'000'000},
    "optimiser steps in all, counted from the beginning", of_run);
  v("--minutes", o.minutes, RealRange{0, 1e6, true},
    "in place of --steps, of which no --config may speak then: as many steps as this machine makes "
    "in so many minutes, checkpoints and sample grids included, but not what is measured at the "
    "end. A few steps are timed first, then their number is fixed, printed and kept for --resume; "
    "a machine that becomes slower later takes longer",
    of_run);
}

/// The flags that every training program has, with the same words.
template <class Options, class Visitor>
void visit_run_flags(Options& o, Visitor& v) {
  constexpr std::int64_t billion = 1'000'000'000;
  v("--resume", o.resume, Text{"auto|DIR"},
    "go on from the newest good checkpoint of this run (auto; from step 0 when there is none), or "
    "from this run or checkpoint",
    not_kept);
  v("--overwrite", o.overwrite, Switch{}, "replace an earlier run", not_kept);
  v("--checkpoint-every", o.checkpoint_every, IntRange{0, billion},
    "steps between checkpoints; 0: only at the end", of_run);
  v("--keep-last", o.keep_last, IntRange{1, 1'000'000}, "checkpoints to keep", of_run);
  v("--log-every", o.log_every, IntRange{1, billion}, "steps averaged in one line of metrics.jsonl",
    of_run);
  v("--threads", o.threads, IntRange{0, 1024},
    "threads, 0: one per core. Results do not depend on it", of_run);
  v("--quiet", o.quiet, Switch{}, "print errors only", not_kept);
}

/// What decides the bits that are learnt, as one line of JSON: the rows of OptionRole::learning,
/// with warmup and lr_decay, which may follow from the number of steps.
std::string learning_json(const RunFlags& options, const std::vector<OptionRow>& rows);
/// config.json, indented: the program, the above, and the rows of OptionRole::run.
std::string config_json(const RunFlags& options, const std::vector<OptionRow>& rows,
                        const std::string& learning);
/// What files meant that lack an option.
std::string defaults_of_older_files(const std::vector<OptionRow>& rows);

/// For programs whose result is one file: the run lies beside it, in FILE.run for
/// FILE.safetensors. Throws ProgramError: checkpoint when --resume names nothing, usage when it is
/// given with --overwrite.
void run_beside(RunFlags& options, const std::string& file);

/// --minutes and --steps: throws ProgramError (usage) when both are given.
void check_length(const CommandLine& line, RunFlags& options);

/// The rate that lr, warmup and lr_decay describe.
nn::LrSchedule learning_rate(const RunFlags& options);

/// The part of the run's description that flags are about. `losses` of a step: one for each sample
/// of the batch unless given.
training::RunOptions run_options(const RunFlags& options);

}  // namespace ito::app
