#include "diffusion/training/training_run.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "nn/layers.h"
#include "tests/nn/temp_directory.h"

using namespace ito;
using training::RunDirectory, training::RunError;

namespace {

// Least squares by Adam, with a counter beside it as one more state. Every number follows from the
// step.
struct Trainer {
  explicit Trainer(const std::filesystem::path& folder, const std::string& resume = "")
      : run({.directory = folder.string(),
             .resume = resume,
             .batch = 8,
             .losses = 8,
             .log_every = 4,
             .checkpoint_every = 5},
            {flat, adam, &ema, {counter_state()}},
            {.learned = [this](const auto&, const auto&) { ++counter; },
             .should_stop = [this] { return stop; }}) {}

  training::NamedState counter_state() {
    return {.file = "counter.safetensors",
            .save =
                [this] {
                  const Tensor value = Tensor::full({1}, static_cast<double>(counter), DType::f64);
                  return nn::TensorFile{{{"counter", value}}, {}};
                },
            .restore =
                [this](const nn::SafeTensors& file) {
                  counter = static_cast<int>(file.at("counter").item());
                }};
  }

  void step(std::int64_t number) {
    Rng rng(1, Purpose::data);
    rng.seek(static_cast<std::uint64_t>(number));
    const Tensor x = randn(rng, {8, 2}), y = 3.0 * slice(x, 1, 0, 1) - 2.0;
    const Tensor factor = Tensor::full({1}, number == poisoned || number >= poisoned_from
                                                ? std::numeric_limits<double>::quiet_NaN()
                                                : 1.0);
    const Tensor losses = reshape(square(linear(x) - y) * factor, Shape{8});
    flat.zero_grad();
    backward(mean(losses));
    adam.set_lr(0.1);
    adam.step_if_finite({.average = &ema,
                         .losses = losses,
                         .max_consecutive_skips = training::max_consecutive_skips});
    run.record({.losses = losses, .inputs = {{"x", x}}});
  }

  // Up to `last` steps of this process.
  void train(std::int64_t steps, std::int64_t last, const std::string& learning = "{\"lr\":0.1}") {
    run.begin({.steps = steps, .learning = learning});
    for (std::int64_t s = run.first_step(); run.should_continue(s) && s < last;) {
      step(s);
      s = run.end_of_step(s, 0.1);
    }
  }

  Rng init{0, Purpose::init};
  nn::Linear linear{2, 1, init};
  nn::FlatParameters flat{linear};
  nn::Adam adam{flat};
  nn::Ema ema{flat, 0.9};
  int counter = 0;
  bool stop = false;
  std::int64_t poisoned = -1, poisoned_from = std::numeric_limits<std::int64_t>::max();
  training::TrainingRun run;
};

std::string metrics(const std::filesystem::path& folder) {
  return test::read_file(folder / "metrics.jsonl");
}

}  // namespace

TEST_CASE("TrainingRun: continued from a checkpoint it ends with the bits of a whole run") {
  const test::TempDirectory folder;
  Trainer whole(folder / "whole");
  whole.train(23, 23);
  whole.run.finish();
  CHECK(whole.counter == 23);
  // Cut off after 13 steps, as kill -9 would: the checkpoint is that of step 10.
  { Trainer(folder / "cut").train(23, 13); }
  Trainer again(folder / "cut", "auto");
  again.train(23, 23);
  again.run.finish();
  CHECK(again.run.steps_made() == 23);
  CHECK(again.counter == 23);
  CHECK(again.flat.master.to_vector<float>() == whole.flat.master.to_vector<float>());
  CHECK(again.ema.values.to_vector<float>() == whole.ema.values.to_vector<float>());
  CHECK(again.adam.v.to_vector<float>() == whole.adam.v.to_vector<float>());
  CHECK(metrics(folder / "cut") == metrics(folder / "whole"));
  // It has learnt something.
  CHECK(whole.linear.weight.to_vector<float>()[0] > 0.5f);
}

TEST_CASE("TrainingRun: a signal saves, whatever checkpoint_every says") {
  const test::TempDirectory folder;
  {
    Trainer stopped(folder / "run");
    stopped.run.begin({.steps = 100, .learning = "{}"});
    stopped.step(0);
    stopped.stop = true;
    CHECK(stopped.run.end_of_step(0, 0.1) == 1);
    CHECK_FALSE(stopped.run.should_continue(1));
    stopped.run.finish();
  }
  Trainer again(folder / "run", "auto");
  again.run.begin({.steps = 100, .learning = "{}"});
  CHECK(again.run.first_step() == 1);
}

TEST_CASE("TrainingRun: another configuration is refused, by key") {
  const test::TempDirectory folder;
  { Trainer(folder / "run").train(5, 5); }
  Trainer other(folder / "run", "auto");
  CHECK_THROWS_WITH_AS(other.train(9, 9, "{\"lr\":0.2}"),
                       doctest::Contains("lr: 0.1 in the checkpoint, 0.2 now"), RunError);
}

TEST_CASE("TrainingRun: a step that is not finite changes nothing; five in a row end the run") {
  const test::TempDirectory folder;
  Trainer one(folder / "one"), none(folder / "none");
  one.poisoned = 7;
  one.train(8, 8);
  none.train(7, 7);
  CHECK(one.flat.master.to_vector<float>() == none.flat.master.to_vector<float>());
  CHECK(metrics(folder / "one").find("\"skipped\":1") != std::string::npos);

  Trainer many(folder / "many");
  many.poisoned_from = 3;
  try {
    many.train(100, 100);
    FAIL("no error");
  } catch (const RunError& e) {
    CHECK(e.kind == RunError::Kind::non_finite);
    CHECK(many.run.steps_made() == 7);
  }
  const std::string report = test::read_file(folder / "many" / "nan_report.json");
  CHECK(report.find("\"kind\": \"loss\"") != std::string::npos);
  CHECK(report.find("\"step\": 7") != std::string::npos);
}

TEST_CASE("RunDirectory: one process at a time, and no run is overwritten by accident") {
  const test::TempDirectory folder;
  const std::string path = folder / "run";
  {
    const RunDirectory first(path, RunDirectory::Mode::fresh);
    CHECK_THROWS_WITH_AS(RunDirectory(path, RunDirectory::Mode::resume),
                         doctest::Contains("in use by another process"), RunError);
    test::write_file(first.file("config.json"), "{}");
  }
  // A refusal gives the lock back.
  for (int i = 0; i < 2; ++i) {
    CHECK_THROWS_WITH_AS(RunDirectory(path, RunDirectory::Mode::fresh),
                         doctest::Contains("there is a run already"), RunError);
  }
  CHECK_NOTHROW(RunDirectory(path, RunDirectory::Mode::resume));
  const RunDirectory last(path, RunDirectory::Mode::overwrite);
  CHECK_FALSE(std::filesystem::exists(last.file("config.json")));
}

TEST_CASE("TrainingRun: the last line of metrics.jsonl is of the steps that are left") {
  const test::TempDirectory folder;
  {
    Trainer run(folder / "run");  // a line every 4 steps
    run.train(6, 6);
    run.run.finish();
    CHECK(metrics(folder / "run").find("\"step\":6") != std::string::npos);
  }
  // Going on cuts it off again: the bits of a run of 9 steps, also when nothing is left to do.
  for (int i = 0; i < 2; ++i) {
    Trainer more(folder / "run", "auto");
    more.train(9, 9);
    more.run.finish();
  }
  Trainer whole(folder / "whole");
  whole.train(9, 9);
  whole.run.finish();
  CHECK(metrics(folder / "run") == metrics(folder / "whole"));
}

TEST_CASE("TrainingRun: a configuration that is no JSON object is refused before the first step") {
  const test::TempDirectory folder;
  for (const char* learning : {"nonsense", "[1]", "\"text\""}) {
    Trainer run((folder / "run").string() + std::to_string(learning[0]));
    CHECK_THROWS_AS(run.train(3, 3, learning), ValueError);
  }
}
