#include "examples/app/program_run.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "data/png.h"
#include "examples/app/files.h"
#include "examples/app/output.h"
#include "examples/app/preview.h"
#include "examples/app/signals.h"
#include "examples/app/time_budget.h"
#include "tensor/memory.h"
#include "tensor/parallel.h"
#include "tensor/version.h"

namespace ito::app {
namespace {

namespace fs = std::filesystem;

std::string size_text(std::size_t bytes) { return human_bytes(static_cast<double>(bytes)); }

// The grids of the run, oldest first; evenly chosen when there are many, with the newest.
std::vector<ReportPicture> sample_grids(const training::RunDirectory& directory) {
  constexpr std::size_t max_grids = 12;
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory.file("samples"), error)) {
    if (entry.path().extension() == ".png") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<ReportPicture> grids;
  const std::size_t count = std::min(files.size(), max_grids);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t chosen = count == 1 ? 0 : i * (files.size() - 1) / (count - 1);
    const std::string stem = files[chosen].stem().string();  // step_000500
    const std::size_t digits = stem.find_first_not_of("step_0");
    grids.push_back({"step " + (digits == stem.npos ? "0" : stem.substr(digits)),
                     read_text(files[chosen].string()), 2});
  }
  return grids;
}

}  // namespace

ProgramRun::ProgramRun(RunFlags& options, const training::RunOptions& run,
                       training::Learner learner, RunDescription about)
    : options_(options),
      learner_(learner),
      about_(std::move(about)),
      by_timestep_(run.timesteps > 0) {
  training::RunHooks hooks = {
      .note = [this](const std::string& text) { say(text); },
      .warning = [](const std::string& text) { print(stderr, "WARNING: {}\n", text); },
      .step = [this](std::int64_t done, double loss, double grad_norm,
                     double lr) { progress_->update(done, loss, grad_norm, lr); },
      .learned = about_.learned,
      .preview = {},
      .report = [this](const std::string& status) { write_report(status); },
      .pause = [this](bool on) { on ? progress_->pause() : progress_->resume(); },
      .should_stop = stop_requested};
  if (about_.grid) hooks.preview = [this](std::int64_t done) { draw(done); };
  run_ = std::make_unique<training::TrainingRun>(run, std::move(learner), std::move(hooks));
}

ProgramRun::~ProgramRun() = default;

void ProgramRun::say(const std::string& text) {
  if (progress_) return progress_->note(text);
  if (!options_.quiet) print(stderr, "{}\n", text);
}

nn::LrSchedule ProgramRun::begin(const std::function<void(std::int64_t)>& step) {
  RunFlags& o = options_;
  catch_signals();
  if (o.minutes > 0) {
    BudgetTrial trial = {
        .step = step, .wait = [this] { run_->discard(); }, .max_between = run_->capacity()};
    // No graph of a grid: on a GPU its second step is recorded, which tells nothing of later ones.
    if (about_.grid) trial.grid = [this](std::int64_t steps) { about_.grid(steps, false); };
    plan_ = fix_steps(o, learner_, trial, about_.unit);
  }
  const std::vector<OptionRow> rows = about_.rows();
  const std::string learning = learning_json(o, rows);
  config_ = config_json(o, rows, learning);
  training::RunPlan plan = {.steps = o.steps,
                            .learning = learning,
                            .config = config_,
                            .before = defaults_of_older_files(rows)};
  if (const double minutes = begun_with_minutes(o); minutes > 0 && o.minutes == 0) {
    plan.advice = fmt::format(
        "it was begun with --minutes {}: give that, or the --steps, --warmup and --lr-decay of its "
        "config.json, with its other flags",
        minutes);
  }
  if (o.decay_follows) {
    plan.advice =
        "give the flags of that run, its --steps or --minutes among them: the learning "
        "rate falls to the last step";
  }
  if (!o.quiet) print_table();
  run_->begin(plan);
  progress_ =
      std::make_unique<Progress>(o.steps, run_->first_step(), o.batch, o.quiet, about_.unit);
  return learning_rate(o);
}

void ProgramRun::print_table() const {
  const auto& o = options_;
  const nn::FlatParameters& flat = learner_.flat;
  const auto row = [](const char* name, const std::string& text) {
    print(stderr, "  {:<9} {}\n", name, text);
  };
  print(stderr, "{}\n", o.program);
  for (const auto& [name, text] : about_.facts) row(name.c_str(), text);
  row("network", fmt::format("{} parameters", flat.count()));
  std::string memory = fmt::format("weights {}, gradients {}, optimiser {}",
                                   size_text(flat.master.bytes()), size_text(flat.grads.bytes()),
                                   size_text(learner_.adam.m.bytes() + learner_.adam.v.bytes()));
  if (learner_.ema != nullptr) memory += ", average " + size_text(learner_.ema->values.bytes());
  if (about_.data_bytes > 0) memory += ", data " + size_text(about_.data_bytes);
  row("memory", memory);
  row("device", fmt::format("{}, {}, {} threads", flat.master.device().str(),
                            name_of(flat.model.dtype()), num_threads()));
  row("training", fmt::format("{} steps of {} {}, lr {}, seed {}", o.steps, o.batch, about_.unit,
                              o.lr, o.seed));
  row("output", o.run);
  if (!plan_.empty()) row("plan", plan_);
  for (const std::string& remark : about_.remarks) print(stderr, "  {}\n", remark);
}

void ProgramRun::draw(std::int64_t done) {
  try {
    const Tensor grid = about_.grid(options_.sample_steps, options_.graph);
    data::PngText text = {{"Software", "ito " + build::version()},
                          {"step", std::to_string(done)},
                          {"seed", std::to_string(options_.seed)}};
    text.insert(text.end(), about_.grid_text.begin(), about_.grid_text.end());
    with_exit_code(ExitCode::resource, [&] {
      const std::string path = run_->directory().samples(done);
      std::error_code ignored;  // writing the file says what is wrong
      fs::create_directories(fs::path(path).parent_path(), ignored);
      data::write_png(path, grid, text);
    });
  } catch (const PreviewStopped&) {
    return;  // drawn when the run is continued
  }
}

void ProgramRun::write_report(const std::string& status) {
  const nn::FlatParameters& flat = learner_.flat;
  const training::RunDirectory& directory = run_->directory();
  with_exit_code(ExitCode::resource, [&] {
    Report r;
    r.title = fmt::format("{}: {}", options_.program, about_.subject);
    r.status = status;
    r.metrics = training::read_metrics(directory.file("metrics.jsonl"));
    r.timing = training::read_timing(directory.file("timing.jsonl"));
    r.samples = sample_grids(directory);
    r.noising = about_.noising;
    r.config = config_;
    r.loss = about_.loss;
    r.unit = about_.unit;
    r.by_timestep = by_timestep_;
    r.average = learner_.ema != nullptr;
    r.facts = about_.facts;
    r.facts.emplace_back("network", fmt::format("{} parameters", flat.count()));
    r.facts.emplace_back("batch", fmt::format("{} {}", options_.batch, about_.unit));
    if (!r.metrics.empty()) {
      double loss = 0;
      const std::size_t tail = std::max<std::size_t>(1, r.metrics.size() / 10);
      for (std::size_t i = r.metrics.size() - tail; i < r.metrics.size(); ++i) {
        loss += r.metrics[i].loss / static_cast<double>(tail);
      }
      r.facts.emplace_back("loss",
                           fmt::format("{:.4g} (mean over the last tenth of the run)", loss));
    }
    r.facts.emplace_back("device", flat.master.device().str());
    r.facts.emplace_back("dtype", name_of(flat.model.dtype()));
    r.facts.emplace_back("peak memory", size_text(memory::usage(flat.master.device()).peak));
    r.facts.emplace_back("threads", std::to_string(num_threads()));
    write_text(directory.file("report.html"), render_html(r));
  });
}

ExitCode ProgramRun::finish() {
  run_->finish();
  progress_->finish();
  say(fmt::format("{} at step {}: {:.0f} {}/s, peak memory {}; {}",
                  stop_requested() ? "stopped and saved" : "done", run_->steps_made(),
                  progress_->images_per_second(), about_.unit,
                  size_text(memory::usage(learner_.flat.master.device()).peak),
                  run_->directory().file("report.html")));
  return signal_exit_code();
}

}  // namespace ito::app
