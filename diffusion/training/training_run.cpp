// The loop of a run seen from outside: begin, every step, end. Pending steps are those that were
// made and not yet looked at.
#include "diffusion/training/training_run.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>

#include "autograd/engine.h"
#include "data/bytes.h"
#include "diffusion/training/metrics.h"
#include "diffusion/training/non_finite.h"
#include "nn/checkpoint.h"
#include "nn/step_history.h"

namespace ito::training {
namespace {

namespace fs = std::filesystem;
using Kind = RunError::Kind;

bool due(std::int64_t step, std::int64_t every) { return every > 0 && step % every == 0; }

std::int64_t history_rows(const RunOptions& o, Device device) {
  return device.is_cpu() || o.look_at_each ? 1 : std::min<std::int64_t>(o.log_every, 100);
}

RunDirectory::Mode mode_of(const RunOptions& o) {
  if (o.overwrite) return RunDirectory::Mode::overwrite;
  return o.resume.empty() ? RunDirectory::Mode::fresh : RunDirectory::Mode::resume;
}

template <class F, class... A>
void call(const std::function<F>& hook, A&&... arguments) {
  if (hook) hook(std::forward<A>(arguments)...);
}

}  // namespace

struct TrainingRun::Impl {
  Impl(const RunOptions& o, Learner l, RunHooks h)
      : options(o),
        learner(std::move(l)),
        hooks(std::move(h)),
        device(learner.flat.master.device()),
        history(history_rows(o, device), o.losses, device),
        no_timesteps(Tensor::zeros({o.losses}, DType::i64, device)),
        directory(o.directory, mode_of(o)) {}

  void note(const std::string& text) const { call(hooks.note, text); }
  bool stopping() const { return hooks.should_stop && hooks.should_stop(); }
  std::optional<nn::Checkpoint> find_checkpoint();
  void resume();
  void open_logs();
  std::optional<std::int64_t> look_at_pending(std::int64_t newest, double lr);
  void handle_skipped(std::int64_t step, const nn::StepHistory::Row& row, bool newest, double lr);
  void log(const nn::StepHistory::Row& row, double lr);
  void write_metrics(double lr) const;
  void save(std::int64_t done);

  RunOptions options;
  RunPlan plan;
  Learner learner;
  RunHooks hooks;
  Device device;
  nn::StepHistory history;
  Tensor no_timesteps;
  std::int64_t first_step = 0, pending = 0;
  bool look_now = false;
  StepTensors tensors;  // of the newest step
  RunDirectory directory;
  TrainingState state;
  std::unique_ptr<AppendFile> metrics, timing;
  std::chrono::steady_clock::time_point lap;  // end of the last line of timing.jsonl
  std::int64_t lap_step = 0;
  std::int64_t saved_step = -1;
};

// ---- beginning

std::optional<nn::Checkpoint> TrainingRun::Impl::find_checkpoint() {
  if (options.resume.empty()) return std::nullopt;
  if (options.resume != "auto") return nn::load_checkpoint(options.resume);
  nn::LatestCheckpoint latest = nn::find_latest_checkpoint(directory.checkpoints());
  for (const std::string& reason : latest.skipped) {
    call(hooks.warning, fmt::format("a damaged checkpoint is left out: {}", reason));
  }
  if (!latest.checkpoint && !latest.skipped.empty()) {
    stop(Kind::checkpoint,
         "--resume auto: no checkpoint in {} can be used. To start again: --overwrite",
         directory.checkpoints());
  }
  if (!latest.checkpoint) {
    note(fmt::format("no checkpoint in {} yet: starting at step 0", directory.path()));
  }
  return latest.checkpoint;
}

void TrainingRun::Impl::resume() {
  nn::clean_checkpoints(directory.checkpoints());  // the lock is ours: half-written ones are stale
  with_kind(Kind::checkpoint, [&] {
    const auto checkpoint = find_checkpoint();
    if (!checkpoint) return;
    state = parse_state(*checkpoint);
    if (const auto lines = differences(state.learning, plan.learning, plan.before);
        !lines.empty()) {
      std::string text;
      for (const std::string& line : lines) text += "\n  " + line;
      stop(Kind::checkpoint,
           "{} is of a run with another configuration:{}\n  {}, or another --out to start a new "
           "one",
           checkpoint->directory.string(), text, plan.advice);
    }
    restore(learner, *checkpoint);
    learner.adam.set_skipped_in_a_row(state.bad_in_a_row);
    note(fmt::format("continuing after step {} from {}", state.step,
                     checkpoint->directory.string()));
  });
  state.learning = plan.learning;
}

void TrainingRun::Impl::open_logs() {
  data::write_text(directory.file("config.json"), plan.config);
  metrics = std::make_unique<AppendFile>(directory.file("metrics.jsonl"), state.metrics_bytes);
  // Of the speeds, keep those of steps that were not lost.
  std::string kept;
  for (const TimingLine& line : read_timing(directory.file("timing.jsonl"))) {
    if (line.step <= state.step) kept += to_json(line) + "\n";
  }
  data::write_text(directory.file("timing.jsonl"), kept);
  timing = std::make_unique<AppendFile>(directory.file("timing.jsonl"), kept.size());
}

TrainingRun::TrainingRun(const RunOptions& options, Learner learner, RunHooks hooks)
    : impl_(std::make_unique<Impl>(options, std::move(learner), std::move(hooks))) {}

TrainingRun::~TrainingRun() = default;

std::int64_t TrainingRun::capacity() const { return impl_->history.capacity(); }
void TrainingRun::discard() { impl_->history.drain(); }
std::int64_t TrainingRun::first_step() const { return impl_->first_step; }
std::int64_t TrainingRun::steps_made() const { return impl_->state.step; }
const RunDirectory& TrainingRun::directory() const { return impl_->directory; }

void TrainingRun::begin(const RunPlan& plan) {
  Impl& run = *impl_;
  expect_object("learning", plan.learning);
  run.plan = plan;
  run.resume();
  with_kind(Kind::resource, [&] { run.open_logs(); });
  const std::int64_t first = run.first_step = run.state.step;
  // A run that was stopped between saving and drawing lacks the samples of its last step.
  if (due(first, run.options.preview_every) && first > 0 &&
      !fs::exists(run.directory.samples(first))) {
    call(run.hooks.preview, first);
  }
  run.lap = std::chrono::steady_clock::now();
  run.lap_step = first;
}

// ---- every step

bool TrainingRun::should_continue(std::int64_t step) const {
  if (step >= impl_->plan.steps) return false;
  return !impl_->stopping() || impl_->pending > 0;
}

void TrainingRun::record(const StepTensors& tensors) {
  Impl& run = *impl_;
  run.history.add(tensors.losses, tensors.t.defined() ? tensors.t : run.no_timesteps,
                  run.learner.adam);
  run.tensors = tensors;
  run.tensors.losses = detach(tensors.losses);  // without the graph behind it
}

std::int64_t TrainingRun::end_of_step(std::int64_t step, double lr) {
  Impl& run = *impl_;
  const RunOptions& o = run.options;
  const std::int64_t done = step + 1;
  const bool last = done == run.plan.steps;
  const bool preview = run.hooks.preview && (last || due(done, o.preview_every));
  const bool save = last || due(done, o.checkpoint_every) || run.stopping();
  ++run.pending;
  if (!(preview || save || run.look_now || due(done, o.log_every) ||
        run.pending == run.history.capacity())) {
    return done;
  }
  if (const auto again = run.look_at_pending(step, lr)) return *again;
  const auto pause = std::chrono::steady_clock::now();
  call(run.hooks.pause, true);
  if (preview) run.hooks.preview(done);
  if (save || run.stopping()) {
    run.save(done);
    call(run.hooks.report, last ? fmt::format("finished at step {}", done)
                                : fmt::format("at step {} of {}", done, run.plan.steps));
  }
  call(run.hooks.pause, false);
  run.lap += std::chrono::steady_clock::now() - pause;  // speed is that of training alone
  return done;
}

// Takes the pending steps, up to `newest`, into account. Returns a step that must be made again,
// because it ends the run and its tensors are gone.
std::optional<std::int64_t> TrainingRun::Impl::look_at_pending(std::int64_t newest, double lr) {
  pending = 0;
  look_now = false;
  for (const nn::StepHistory::Row& row : history.drain()) {
    const std::int64_t step = state.step;
    if (!row.updated && step != newest && state.bad_in_a_row + 1 == max_consecutive_skips) {
      look_now = true;
      return step;
    }
    if (row.updated) {
      state.bad_in_a_row = 0;
      call(hooks.learned, row.t, row.losses);
    } else {
      handle_skipped(step, row, step == newest, lr);
    }
    log(row, lr);
  }
  return std::nullopt;
}

void TrainingRun::Impl::handle_skipped(std::int64_t step, const nn::StepHistory::Row& row,
                                       bool newest, double lr) {
  ++state.window.skipped;
  ++state.bad_in_a_row;
  const std::string skipped = fmt::format("step {}: not finite, update skipped ({} in a row)",
                                          step + 1, state.bad_in_a_row);
  if (!newest) return note(skipped);  // the device has gone on: what was bad first is not known
  const NonFiniteReport found = explain_non_finite(step, tensors, row.grad_norm, lr, learner.flat);
  note(fmt::format("{}: {}", skipped, found.first_bad));
  if (state.bad_in_a_row < max_consecutive_skips) return;
  data::write_text(directory.file("nan_report.json"), found.json);
  call(hooks.report, fmt::format("stopped at step {}: not finite: {}", step + 1, found.first_bad));
  stop(Kind::non_finite,
       "{} steps in a row were not finite, the last one step {}: {}. Details in {}; the weights "
       "are those before. A lower --lr or --clip, or a longer --warmup, often helps",
       max_consecutive_skips, step + 1, found.first_bad, directory.file("nan_report.json"));
}

void TrainingRun::Impl::log(const nn::StepHistory::Row& row, double lr) {
  const std::int64_t done = ++state.step;
  state.lr = lr;
  if (row.updated) state.window.add(row.losses, row.t, options.timesteps, row.grad_norm);
  if (options.dataset > 0) {
    state.epoch = done * options.batch / options.dataset;
    state.cursor = done * options.batch % options.dataset;
  }
  double loss = 0;
  for (const float x : row.losses) loss += double{x};
  call(hooks.step, done, loss / static_cast<double>(row.losses.size()), row.grad_norm, lr);
  if (!due(done, options.log_every)) return;
  const auto now = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(now - lap).count();
  const double speed = static_cast<double>((done - lap_step) * options.batch) / seconds;
  lap = now;
  lap_step = done;
  write_metrics(lr);
  with_kind(Kind::resource, [&] { timing->append(to_json(TimingLine{done, speed})); });
  state.metrics_bytes = metrics->size();
  state.window = {};
}

// The window so far as a line of metrics.jsonl.
void TrainingRun::Impl::write_metrics(double lr) const {
  const nn::Ema* ema = learner.ema;
  const std::int64_t updates = ema != nullptr ? ema->updates() : 0;
  const double decay = updates > 0 ? ema->decay_at(updates - 1) : 0.0;
  with_kind(Kind::resource,
            [&] { metrics->append(to_json(summarise(state.window, state.step, lr, decay))); });
}

void TrainingRun::Impl::save(std::int64_t done) {
  nn::CheckpointOptions keep;
  keep.keep_last = static_cast<int>(options.keep_last);
  try {
    nn::save_checkpoint(directory.checkpoints(), done,
                        checkpoint_contents(learner, state, options.metadata), keep);
  } catch (const IoError& e) {
    stop(Kind::resource, "cannot save the checkpoint of step {}: {}\n  {}", done, e.what(),
         saved_step >= 0 ? fmt::format("the checkpoint of step {} is intact", saved_step)
                         : "no checkpoint of this process is lost: there was none yet");
  }
  saved_step = done;
}

// ---- end

void TrainingRun::finish() {
  Impl& run = *impl_;
  const std::int64_t made = run.state.step, steps = run.plan.steps;
  if (run.stopping() && run.saved_step != made && made < steps) {
    run.save(made);  // the signal came before the first step or after a save was due
  }
  // Not part of the checkpoint: a run that goes on from here cuts this line off again.
  if (run.state.window.steps + run.state.window.skipped > 0) run.write_metrics(run.state.lr);
  call(run.hooks.report, made >= steps
                             ? fmt::format("finished at step {}", made)
                             : fmt::format("interrupted after step {} of {}", made, steps));
}

}  // namespace ito::training
