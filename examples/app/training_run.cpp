#include "examples/app/training_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "autograd/engine.h"
#include "data/png.h"
#include "examples/app/files.h"
#include "examples/app/non_finite.h"
#include "examples/app/output.h"
#include "examples/app/preview.h"
#include "examples/app/progress.h"
#include "examples/app/run_directory.h"
#include "examples/app/run_report.h"
#include "examples/app/signals.h"
#include "examples/app/time_budget.h"
#include "examples/app/training_config.h"
#include "nn/checkpoint.h"
#include "nn/step_history.h"
#include "tensor/memory.h"
#include "tensor/parallel.h"
#include "tensor/version.h"

namespace ito::app {
namespace {

namespace fs = std::filesystem;

// Rows of the history: how many steps a device makes before they are looked at.
// Timesteps by importance depend on the losses of the step before.
std::int64_t steps_between_looks(const TrainOptions& o, Device device) {
  const bool every = device.is_cpu() || o.t_sampling == TimestepSampling::importance;
  return every ? 1 : std::min<std::int64_t>(o.log_every, 100);
}

RunDirectory::Mode mode_of(const TrainOptions& o) {
  if (o.overwrite) return RunDirectory::Mode::overwrite;
  return o.resume.empty() ? RunDirectory::Mode::fresh : RunDirectory::Mode::resume;
}

bool due(std::int64_t step, std::int64_t every) { return every > 0 && step % every == 0; }

}  // namespace

struct TrainingRun::Impl {
  Impl(const TrainOptions& o, const data::Dataset& d, const UNetConfig& network,
       ConditionalNetwork m, Learner l)
      : options(o),
        dataset(d),
        model_card(app::model_card(o, network, d)),
        model(std::move(m)),
        learner(l),
        device(l.flat.values.device()),
        history(steps_between_looks(o, device), o.batch, device),
        directory(o.out, mode_of(o)),
        card(model_card.to_json()) {}

  void say(const std::string& text) {
    if (progress) return progress->note(text);
    if (!options.quiet) print(stderr, "{}\n", text);
  }
  std::optional<nn::Checkpoint> find_checkpoint();
  void resume();
  void open_logs();
  std::optional<std::int64_t> look(std::int64_t newest, double lr);
  void handle_bad(std::int64_t step, const nn::StepHistory::Row& row, bool newest, double lr);
  void log(const nn::StepHistory::Row& row, double lr);
  Tensor draw_grid(std::int64_t steps, bool graph);
  void draw_samples(std::int64_t done);
  void save(std::int64_t done);
  void write_report(const std::string& status);
  void start_table() const;

  TrainOptions options;
  std::string plan;  // with --minutes, for the table
  const data::Dataset& dataset;
  ModelCard model_card;
  ConditionalNetwork model;
  Learner learner;
  Device device;
  nn::StepHistory history;
  std::int64_t pending = 0;  // steps made since the last look
  bool look_now = false;
  StepTensors tensors;  // of the newest step
  RunDirectory directory;
  std::string card, learning;
  TrainingState state;
  std::unique_ptr<AppendFile> metrics, timing;
  std::unique_ptr<Progress> progress;
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
    print(stderr, "WARNING: a damaged checkpoint is left out: {}\n", reason);
  }
  if (!latest.checkpoint && !latest.skipped.empty()) {
    stop(ExitCode::checkpoint,
         "--resume auto: no checkpoint in {} can be used. To start again: --overwrite",
         directory.checkpoints());
  }
  if (!latest.checkpoint)
    say(fmt::format("no checkpoint in {} yet: starting at step 0", options.out));
  return latest.checkpoint;
}

void TrainingRun::Impl::resume() {
  nn::clean_checkpoints(
      directory.checkpoints());  // the lock is ours: what is half written is stale
  with_exit_code(ExitCode::checkpoint, [&] {
    const auto checkpoint = find_checkpoint();
    if (!checkpoint) return;
    state = parse_state(*checkpoint);
    if (const auto lines = differences(state.learning, learning); !lines.empty()) {
      std::string text;
      for (const std::string& line : lines) text += "\n  " + line;
      stop(ExitCode::checkpoint,
           "{} is of a run with another configuration:{}\n  give the flags of that run, or another "
           "--out to start a new one",
           checkpoint->directory.string(), text);
    }
    restore(learner, *checkpoint);
    learner.adam.set_skipped_in_a_row(state.bad_in_a_row);
    say(fmt::format("continuing after step {} from {}", state.step,
                    checkpoint->directory.string()));
  });
  state.learning = learning;
}

void TrainingRun::Impl::open_logs() {
  write_text_atomic(directory.file("config.json"), config_json(options, dataset, learning));
  metrics = std::make_unique<AppendFile>(directory.file("metrics.jsonl"), state.metrics_bytes);
  // Of the speeds, keep those of steps that were not lost.
  std::string kept;
  for (const TimingLine& line : read_timing(directory.file("timing.jsonl"))) {
    if (line.step <= state.step) kept += to_json(line) + "\n";
  }
  write_text_atomic(directory.file("timing.jsonl"), kept);
  timing = std::make_unique<AppendFile>(directory.file("timing.jsonl"), kept.size());
}

void TrainingRun::Impl::start_table() const {
  if (options.quiet) return;
  const auto& flat = learner.flat;
  const Tensor& images = dataset.images;
  const auto size = [](const Tensor& t) { return human_bytes(static_cast<double>(t.bytes())); };
  print(stderr,
        "{}\n"
        "  data      {}, {} images of {} x {} x {}\n"
        "  process   {} schedule, T = {}, predicts {}\n"
        "  network   {} parameters\n"
        "  memory    weights {}, gradients {}, optimiser {}, average {}, data {}\n"
        "  device    {}, {}, {} threads\n"
        "  training  {} steps of {} images, lr {}, seed {}\n"
        "  output    {}\n",
        options.program, dataset.name, images.size(0), images.size(1), images.size(2),
        images.size(3), options.schedule, options.timesteps, name_of(options.predict), flat.count(),
        size(flat.values), size(flat.grads),
        human_bytes(static_cast<double>(learner.adam.m.bytes() + learner.adam.v.bytes())),
        size(learner.ema.values), size(images), device.str(), name_of(flat.working.dtype()),
        num_threads(), options.steps, options.batch, options.lr, options.seed, options.out);
  if (!plan.empty()) print(stderr, "  plan      {}\n", plan);
  for (const std::string& skipped : dataset.skipped) {
    print(stderr, "  left out  {}\n", skipped);
  }
}

TrainingRun::TrainingRun(const TrainOptions& options, const data::Dataset& dataset,
                         const UNetConfig& network, ConditionalNetwork model, Learner learner)
    : impl_(std::make_unique<Impl>(options, dataset, network, std::move(model), learner)) {}

TrainingRun::~TrainingRun() = default;

nn::LrSchedule TrainingRun::begin(const std::function<void(std::int64_t)>& step) {
  Impl& run = *impl_;
  const TrainOptions& o = run.options;
  catch_signals();
  if (o.minutes > 0) {
    // No graph of a grid: on a GPU its second step is recorded, which tells nothing of later ones.
    run.plan = fix_steps(run.options, run.learner,
                         {.step = step,
                          .wait = [&] { run.history.take(); },
                          .most_between = run.history.capacity(),
                          .grid = [&](std::int64_t steps) { run.draw_grid(steps, false); }});
  }
  run.learning = learning_json(o, run.dataset);
  run.start_table();
  run.resume();
  with_exit_code(ExitCode::resource, [&] { run.open_logs(); });
  const std::int64_t first = run.state.step;
  // A run that was stopped between saving and drawing lacks the grid of its last step.
  if (due(first, o.sample_every) && first > 0 && !fs::exists(run.directory.samples(first))) {
    run.draw_samples(first);
  }
  run.progress = std::make_unique<Progress>(o.steps, first, o.batch, o.quiet);
  run.lap = std::chrono::steady_clock::now();
  run.lap_step = first;
  return learning_rate(o);
}

std::int64_t TrainingRun::first_step() const { return impl_->state.step; }

bool TrainingRun::goes_on(std::int64_t step) const {
  if (step >= impl_->options.steps) return false;
  return !stop_requested() || impl_->pending > 0;
}

// ---- every step

void TrainingRun::record(const StepTensors& tensors) {
  impl_->history.add(tensors.losses, tensors.t, impl_->learner.adam);
  impl_->tensors = tensors;
  impl_->tensors.losses = detach(tensors.losses);  // without the graph behind it
}

std::int64_t TrainingRun::end_of_step(std::int64_t step, double lr) {
  Impl& run = *impl_;
  const TrainOptions& o = run.options;
  const std::int64_t done = step + 1;
  const bool last = done == o.steps;
  const bool draw = o.sample_count > 0 && (last || due(done, o.sample_every));
  const bool save = last || due(done, o.checkpoint_every) || stop_requested();
  ++run.pending;
  if (!(draw || save || run.look_now || due(done, o.log_every) ||
        run.pending == run.history.capacity())) {
    return done;
  }
  if (const auto again = run.look(step, lr)) return *again;
  const auto pause = std::chrono::steady_clock::now();
  run.progress->pause();
  if (draw) run.draw_samples(done);
  if (save || stop_requested()) {
    run.save(done);
    run.write_report(last ? fmt::format("finished at step {}", done)
                          : fmt::format("at step {} of {}", done, o.steps));
  }
  run.progress->resume();
  run.lap += std::chrono::steady_clock::now() - pause;  // speed is that of training alone
  return done;
}

// Takes the steps since the last look, up to `newest`, into account. Returns a step that must be
// made again, because it ends the run and its tensors are gone.
std::optional<std::int64_t> TrainingRun::Impl::look(std::int64_t newest, double lr) {
  pending = 0;
  look_now = false;
  for (const nn::StepHistory::Row& row : history.take()) {
    const std::int64_t step = state.step;
    if (!row.updated && step != newest && state.bad_in_a_row + 1 == most_bad_in_a_row) {
      look_now = true;
      return step;
    }
    if (row.updated) {
      state.bad_in_a_row = 0;
      if (learner.timesteps != nullptr) learner.timesteps->update(row.t, row.losses);
    } else {
      handle_bad(step, row, step == newest, lr);
    }
    log(row, lr);
  }
  return std::nullopt;
}

void TrainingRun::Impl::handle_bad(std::int64_t step, const nn::StepHistory::Row& row, bool newest,
                                   double lr) {
  ++state.window.skipped;
  ++state.bad_in_a_row;
  const std::string skipped = fmt::format("step {}: not finite, update skipped ({} in a row)",
                                          step + 1, state.bad_in_a_row);
  if (!newest) return say(skipped);  // the device has gone on: what was bad first is not known
  const NonFiniteReport report = explain_non_finite(step, tensors, row.grad_norm, lr, learner.flat);
  say(fmt::format("{}: {}", skipped, report.first_bad));
  if (state.bad_in_a_row < most_bad_in_a_row) return;
  write_text_atomic(directory.file("nan_report.json"), report.json);
  write_report(fmt::format("stopped at step {}: not finite: {}", step + 1, report.first_bad));
  progress->finish();
  stop(
      ExitCode::non_finite,
      "{} steps in a row were not finite, the last one step {}: {}. Details in {}; the weights are "
      "those before. A lower --lr or --clip, or a longer --warmup, often helps",
      most_bad_in_a_row, step + 1, report.first_bad, directory.file("nan_report.json"));
}

void TrainingRun::Impl::log(const nn::StepHistory::Row& row, double lr) {
  const std::int64_t done = ++state.step;
  if (row.updated) state.window.add(row.losses, row.t, options.timesteps, row.grad_norm);
  state.epoch = options.overfit > 0 ? 0 : done * options.batch / dataset.count();
  state.cursor = options.overfit > 0 ? 0 : done * options.batch % dataset.count();
  double loss = 0;
  for (const float x : row.losses) loss += double{x};
  progress->update(done, loss / static_cast<double>(row.losses.size()), row.grad_norm, lr);
  if (!due(done, options.log_every)) return;
  const auto now = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(now - lap).count();
  const double speed = static_cast<double>((done - lap_step) * options.batch) / seconds;
  lap = now;
  lap_step = done;
  with_exit_code(ExitCode::resource, [&] {
    const auto& ema = learner.ema;
    const std::int64_t updates = ema.updates();
    const double decay = updates > 0 ? ema.decay_at(updates - 1) : 0.0;
    metrics->append(to_json(summarise(state.window, done, lr, decay)));
    timing->append(to_json(TimingLine{done, speed}));
  });
  state.metrics_bytes = metrics->size();
  state.window = {};
}

Tensor TrainingRun::Impl::draw_grid(std::int64_t steps, bool graph) {
  const Tensor& images = dataset.images;
  return preview_grid(
      model_card, model, learner.ema, {images.size(1), images.size(2), images.size(3)}, device,
      {options.sample_count, steps, options.sample_eta, static_cast<std::uint64_t>(options.seed),
       graph, model_card.network.num_classes});
}

void TrainingRun::Impl::draw_samples(std::int64_t done) {
  try {
    const Tensor grid = draw_grid(options.sample_steps, options.graph);
    with_exit_code(ExitCode::resource, [&] {
      data::write_png(directory.samples(done), grid,
                      {{"Software", "ito " + build::version()},
                       {"step", std::to_string(done)},
                       {"seed", std::to_string(options.seed)},
                       {"sampler", fmt::format("ddim, {} steps, eta {}", options.sample_steps,
                                               options.sample_eta)},
                       {"rows", "upper half: averaged weights; lower half: raw weights"},
                       {"columns", model_card.network.num_classes > 0 ? "classes" : "samples"}});
    });
  } catch (const PreviewStopped&) {
    return;  // drawn when the run is continued
  }
}

void TrainingRun::Impl::save(std::int64_t done) {
  nn::CheckpointOptions keep;
  keep.keep_last = static_cast<int>(options.keep_last);
  try {
    nn::save_checkpoint(directory.checkpoints(), done, checkpoint_contents(learner, state, card),
                        keep);
  } catch (const IoError& e) {
    progress->finish();
    stop(ExitCode::resource, "cannot save the checkpoint of step {}: {}\n  {}", done, e.what(),
         saved_step >= 0 ? fmt::format("the checkpoint of step {} is intact", saved_step)
                         : "no checkpoint of this process is lost: there was none yet");
  }
  saved_step = done;
}

void TrainingRun::Impl::write_report(const std::string& status) {
  with_exit_code(ExitCode::resource, [&] {
    write_run_report(directory, status, options, dataset, model_card.noise_schedule(),
                     learner.flat);
  });
}

// ---- end

ExitCode TrainingRun::finish() {
  Impl& run = *impl_;
  if (stop_requested() && run.saved_step != run.state.step && run.state.step < run.options.steps) {
    run.save(run.state.step);  // the signal came before the first step or after a save was due
  }
  run.write_report(
      run.state.step >= run.options.steps
          ? fmt::format("finished at step {}", run.state.step)
          : fmt::format("interrupted after step {} of {}", run.state.step, run.options.steps));
  run.progress->finish();
  run.say(fmt::format("{} at step {}: {:.0f} images/s, peak memory {}; {}",
                      stop_requested() ? "stopped and saved" : "done", run.state.step,
                      run.progress->images_per_second(),
                      human_bytes(static_cast<double>(memory::usage(run.device).peak)),
                      run.directory.file("report.html")));
  return signal_exit_code();
}

}  // namespace ito::app
