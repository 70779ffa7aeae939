#include "examples/app/time_budget.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "examples/app/output.h"
#include "examples/app/preview.h"
#include "examples/app/signals.h"
#include "nn/json_text.h"

namespace ito::app {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

const Clock::time_point process_start = Clock::now();  // before main()

constexpr std::int64_t max_steps = 1'000'000'000;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string seconds_text(double s) {
  return s < 1 ? fmt::format("{:.3g} ms", 1e3 * s) : fmt::format("{:.3g} s", s);
}

}  // namespace

// ---- how many steps

double process_seconds() { return seconds_since(process_start); }

double BudgetCosts::extras(std::int64_t steps) const {
  const auto count = [&](std::int64_t every) {
    return every > 0 ? static_cast<double>((steps + every - 1) / every) : 1.0;
  };
  return grid * count(grid_every) + checkpoint * count(checkpoint_every);
}

double BudgetCosts::total(std::int64_t steps) const {
  return used + static_cast<double>(steps) * step + extras(steps);
}

std::int64_t affordable_steps(const BudgetCosts& costs) {
  std::int64_t fits = 1, too_many = max_steps + 1;  // total() grows with the steps
  while (too_many - fits > 1) {
    const std::int64_t middle = fits + (too_many - fits) / 2;
    (costs.total(middle) <= costs.budget ? fits : too_many) = middle;
  }
  return fits;
}

StepTime measure_steps(double budget, const BudgetTrial& trial) {
  constexpr std::int64_t least = 3;
  const double enough = std::min(0.02 * budget, 5.0), most = std::min(0.25 * budget, 5.0);
  const Clock::time_point start = Clock::now();
  std::int64_t made = 0;
  const auto seconds_of = [&](std::int64_t count) {  // each of these steps
    const Clock::time_point begin = Clock::now();
    for (std::int64_t i = 0; i < count; ++i) {
      expect_no_signal();
      trial.step(made++);
    }
    trial.wait();
    return seconds_since(begin) / static_cast<double>(count);
  };

  // The first find no memory yet; on a GPU the second is recorded. Slow ones leave time to measure.
  StepTime time = {0, 1};
  while (made < 3 && (made == 0 || seconds_since(start) < 0.2 * most)) time.seconds = seconds_of(1);

  // In several blocks, so that there is a median; each as long as the device may go on alone.
  const auto block = static_cast<std::int64_t>(
      std::clamp(0.1 * enough / std::max(time.seconds, 1e-9), 1.0,
                 static_cast<double>(std::max<std::int64_t>(trial.max_between, 1))));
  std::vector<double> blocks;
  const Clock::time_point begin = Clock::now();
  while (seconds_since(start) < most &&
         (std::ssize(blocks) < least || seconds_since(begin) < enough))
    blocks.push_back(seconds_of(block));
  if (blocks.empty()) return time;
  const auto middle = blocks.begin() + std::ssize(blocks) / 2;
  std::nth_element(blocks.begin(), middle, blocks.end());
  return {*middle, block * std::ssize(blocks)};
}

LearnerSnapshot::LearnerSnapshot(nn::FlatParameters& flat, nn::Adam& adam, nn::Ema* average)
    : flat_(flat),
      adam_(adam),
      average_(average),
      values_(flat.master.clone()),
      m_(adam.m.clone()),
      v_(adam.v.clone()),
      steps_(adam.steps()),
      skipped_(adam.skipped_in_a_row()) {
  if (average_ == nullptr) return;
  averaged_ = average_->values.clone();
  updates_ = average_->updates();
}

void LearnerSnapshot::restore() {
  flat_.master.assign(values_);
  flat_.load_model(flat_.master);
  flat_.zero_grad();
  adam_.m.assign(m_);
  adam_.v.assign(v_);
  adam_.set_steps(steps_);
  adam_.set_skipped_in_a_row(skipped_);
  if (average_ == nullptr) return;
  average_->values.assign(averaged_);
  average_->set_updates(updates_);
}

std::string budget_text(const BudgetCosts& costs, const StepTime& time, std::int64_t steps,
                        std::int64_t batch, const char* unit) {
  const auto plural = [](std::int64_t n) { return n == 1 ? "" : "s"; };
  std::string text = fmt::format(
      "{} step{} of {} {} in {:g} min ({} a step measured over {} step{}", steps, plural(steps),
      batch, unit, costs.budget / 60, seconds_text(time.seconds), time.steps, plural(time.steps));
  if (costs.total(steps) > costs.budget) {
    text += "; not even one fits, and one is the least";
  } else if (costs.extras(steps) > 0) {
    text += fmt::format(", {:.0f} % for samples and checkpoints",
                        100 * costs.extras(steps) / costs.budget);
  }
  return text + ")";
}

// ---- the plan of a run

void follow_steps(RunFlags& o, std::int64_t steps) {
  o.steps = steps;
  if (o.warmup_follows) o.warmup = std::min(std::max<std::int64_t>(steps / 40, 1), steps - 1);
  if (o.decay_follows) o.lr_decay = steps;
  if (o.lr_decay > 0 && o.lr_decay <= o.warmup) {
    stop(ExitCode::usage,
         "--lr-decay must be above --warmup; got {} and {}, and --minutes {} has room for {}. Give "
         "a longer time, other values, or --lr-decay 0 (the rate stays)",
         o.lr_decay, o.warmup, o.minutes, o.steps);
  }
}

namespace {

using Json = nlohmann::ordered_json;

std::string advice(const std::string& flags) {
  return fmt::format("\n  to go on with it give {}; to start again: --overwrite", flags);
}

constexpr const char* other_flags = "its --steps, --warmup and --lr-decay in place of --minutes";

struct Planned {
  std::int64_t steps, warmup, lr_decay;
  double minutes;  // 0 when the run was given the steps
};

Planned parse_plan(const std::string& path) {
  const auto number = [&](const Json& group, const char* key, std::int64_t least) {
    const Json& value = group.at(key);
    if (!value.is_number_integer() || value < least || value > max_steps) {
      fail<FormatError>("{} must be a whole number from {} to {}; got {}", key, least, max_steps,
                        value.dump());
    }
    return value.get<std::int64_t>();
  };
  try {
    const Json all = nn::parse_json<Json>(read_text(path));
    const Json &run = all.at("run"), &learning = all.at("learning");
    return {number(run, "steps", 1), number(learning, "warmup", 0), number(learning, "lr_decay", 0),
            run.value("minutes", Json()).is_null() ? 0.0 : run["minutes"].get<double>()};
  } catch (const IoError& e) {
    stop(ExitCode::checkpoint, "{}{}", e.what(), advice(other_flags));
  } catch (const std::exception& e) {  // of nlohmann, and the one above
    stop(ExitCode::checkpoint, "{}: not the configuration of a run: {}{}", path, e.what(),
         advice(other_flags));
  }
}

}  // namespace

bool read_plan(RunFlags& o) {
  const std::string run = o.resume == "auto" ? o.run : training::run_of(o.resume);
  const std::string path = run + "/config.json";
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    const fs::path checkpoints = run + "/checkpoints";
    if (o.resume == "auto" &&
        (!fs::exists(checkpoints, ignored) || fs::is_empty(checkpoints, ignored))) {
      return false;
    }
    stop(ExitCode::checkpoint,
         "{}: no such file, so that the steps that --minutes had room for are not known{}", path,
         advice(other_flags));
  }
  const Planned plan = parse_plan(path);
  if (plan.minutes != o.minutes) {
    const std::string numbers =
        fmt::format("--steps {} --warmup {} --lr-decay {}", plan.steps, plan.warmup, plan.lr_decay);
    const std::string found = plan.minutes > 0 ? fmt::format("--minutes {}", plan.minutes)
                                               : fmt::format("--steps {}", plan.steps);
    stop(ExitCode::checkpoint, "--minutes {}: the run in {} was begun with {}{}", o.minutes, run,
         found, advice(plan.minutes > 0 ? found + ", or " + numbers : numbers));
  }
  if (o.warmup_follows) o.warmup = plan.warmup;
  if (o.decay_follows) o.lr_decay = plan.lr_decay;
  o.warmup_follows = o.decay_follows = false;
  follow_steps(o, plan.steps);
  return true;
}

double begun_with_minutes(const RunFlags& o) {
  if (o.resume.empty()) return 0;
  const std::string run = o.resume == "auto" ? o.run : training::run_of(o.resume);
  std::error_code ignored;
  if (!fs::is_regular_file(run + "/config.json", ignored)) return 0;
  const Json all = nn::parse_json<Json>(read_text(run + "/config.json"));
  const Json::json_pointer minutes("/run/minutes");
  return all.is_object() && all.contains(minutes) && all[minutes].is_number()
             ? all[minutes].get<double>()
             : 0.0;
}

namespace {

// Two steps of the sampler, times as many as a grid has.
double seconds_of_grid(const RunFlags& o, const BudgetTrial& trial) {
  if (!trial.grid) return 0;
  const std::int64_t steps = std::min<std::int64_t>(o.sample_steps, 2);
  try {
    trial.grid(1);  // the first finds no memory yet
    const Clock::time_point begin = Clock::now();
    trial.grid(steps);
    return seconds_since(begin) * static_cast<double>(o.sample_steps) / static_cast<double>(steps);
  } catch (const PreviewStopped&) {
    expect_no_signal();  // throws
    return 0;
  }
}

// Four numbers for each parameter (weights, their average, Adam's two), at the 300 MB/s of
// checksums and a disk, and the report.
double seconds_of_checkpoint(const training::Learner& learner) {
  return 0.05 + 4.0 * static_cast<double>(learner.flat.master.bytes()) / 300e6;
}

std::string measured_plan(RunFlags& o, const training::Learner& learner, const BudgetTrial& trial,
                          const char* unit) {
  if (!o.quiet) print(stderr, "measuring how long a step takes\n");
  LearnerSnapshot before(learner.flat, learner.adam, learner.ema);
  const StepTime time = measure_steps(60 * o.minutes, trial);
  BudgetCosts costs = {.budget = 60 * o.minutes,
                       .step = time.seconds,
                       .grid = seconds_of_grid(o, trial),
                       .checkpoint = seconds_of_checkpoint(learner),
                       .grid_every = o.sample_every,
                       .checkpoint_every = o.checkpoint_every};
  before.restore();
  costs.used = process_seconds();
  follow_steps(o, affordable_steps(costs));
  return budget_text(costs, time, o.steps, o.batch, unit);
}

}  // namespace

std::string fix_steps(RunFlags& o, const training::Learner& learner, const BudgetTrial& trial,
                      const char* unit) {
  const std::string text =
      !o.resume.empty() && read_plan(o)
          ? fmt::format("{} steps, fixed when the run was begun with --minutes {}", o.steps,
                        o.minutes)
          : measured_plan(o, learner, trial, unit);
  return fmt::format("{}; warm-up {}, {}", text, o.warmup,
                     o.lr_decay > 0 ? fmt::format("decay to step {}", o.lr_decay) : "no decay");
}

}  // namespace ito::app
