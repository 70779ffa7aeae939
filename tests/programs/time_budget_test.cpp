#include "examples/app/time_budget.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>
#include <vector>

#include "examples/app/exit_codes.h"
#include "nn/layers.h"
#include "tensor/rng.h"

using namespace ito;

namespace {

void wait_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

}  // namespace

TEST_CASE("affordable_steps: closed forms") {
  app::BudgetCosts costs = {.budget = 60, .step = 0.25};
  CHECK(app::affordable_steps(costs) == 240);
  costs.used = 10;
  CHECK(app::affordable_steps(costs) == 200);
  costs.grid = 5;  // one, at the end
  CHECK(app::affordable_steps(costs) == 180);
  costs.checkpoint = 2.5;
  CHECK(app::affordable_steps(costs) == 170);
  costs.checkpoint = 0;
  costs.used = 0;
  costs.grid_every = 100;  // at 100 and at the end: 200 of 0.25 s and 2 of 5 s
  CHECK(app::affordable_steps(costs) == 200);
  costs.budget = 59;  // 196 of them and 2 grids
  CHECK(app::affordable_steps(costs) == 196);
  costs.budget = 62;  // the 201st needs a third grid
  CHECK(app::affordable_steps(costs) == 200);
}

TEST_CASE("affordable_steps: one step is the least, 10^9 the most") {
  CHECK(app::affordable_steps({.budget = 60, .step = 61}) == 1);
  CHECK(app::affordable_steps({.budget = 60, .used = 61, .step = 0.1}) == 1);
  CHECK(app::affordable_steps({.budget = 60, .step = 0.1, .grid = 61}) == 1);
  CHECK(app::affordable_steps({.budget = 60, .step = 0.1, .checkpoint = 61}) == 1);
  CHECK(app::affordable_steps({.budget = 60, .step = 0}) == 1'000'000'000);
  CHECK(app::affordable_steps({.budget = 1e12, .step = 0.1}) == 1'000'000'000);
}

TEST_CASE("affordable_steps: the budget holds so many steps and not one more") {
  for (const double step : {0.003, 0.09, 1.7}) {
    for (const double grid : {0.0, 0.4, 30.0}) {
      for (const std::int64_t every : {0, 1, 7, 500}) {
        const app::BudgetCosts costs = {.budget = 300,
                                        .used = 2.5,
                                        .step = step,
                                        .grid = grid,
                                        .checkpoint = 0.1,
                                        .grid_every = every,
                                        .checkpoint_every = 11};
        const std::int64_t n = app::affordable_steps(costs);
        CHECK(costs.total(n) <= costs.budget);
        CHECK(costs.total(n + 1) > costs.budget);
      }
    }
  }
}

TEST_CASE("measure_steps: at least three after the first ones, each in its turn") {
  std::vector<std::int64_t> made;
  int waits = 0;
  const app::StepTime time =
      app::measure_steps(1.0, {.step =
                                   [&](std::int64_t n) {
                                     made.push_back(n);
                                     wait_ms(8);  // five take 2 % of the budget
                                   },
                               .wait = [&] { ++waits; },
                               .max_between = 50});
  CHECK(time.seconds >= 0.008);
  CHECK(time.steps >= std::ssize(made) - 3);
  CHECK(time.steps < std::ssize(made));
  CHECK(time.steps >= 3);
  CHECK(waits == std::ssize(made));  // no block of steps in so little time
  for (std::int64_t i = 0; i < std::ssize(made); ++i) CHECK(made[i] == i);
}

TEST_CASE("measure_steps: quick steps are waited for in blocks, never of more than was said") {
  std::int64_t made = 0, since = 0, most = 0;
  app::measure_steps(10, {.step = [&](std::int64_t) { ++made, ++since; },
                          .wait =
                              [&] {
                                most = std::max(most, since);
                                since = 0;
                              },
                          .max_between = 4});
  CHECK(since == 0);
  CHECK(most == 4);
}

TEST_CASE("measure_steps: a step that takes a quarter of the budget is the only one") {
  int made = 0;
  const app::StepTime time = app::measure_steps(0.02, {.step =
                                                           [&](std::int64_t) {
                                                             ++made;
                                                             wait_ms(20);
                                                           },
                                                       .wait = [] {}});
  CHECK(made == 1);
  CHECK(time.steps == 1);
  CHECK(time.seconds >= 0.02);
}

TEST_CASE("follow_steps: a fortieth to warm up, the decay to the end, unless flags say otherwise") {
  const auto follow = [](std::int64_t steps, app::TrainOptions o) {
    app::follow_steps(o, steps);
    return std::vector<std::int64_t>{o.steps, o.warmup, o.lr_decay};
  };
  app::TrainOptions o;
  o.warmup_follows = o.decay_follows = true;
  o.warmup = 100;
  CHECK(follow(4000, o) == std::vector<std::int64_t>{4000, 100, 4000});
  CHECK(follow(39, o) == std::vector<std::int64_t>{39, 1, 39});
  CHECK(follow(2, o) == std::vector<std::int64_t>{2, 1, 2});
  CHECK(follow(1, o) == std::vector<std::int64_t>{1, 0, 1});
  o.warmup_follows = false;
  CHECK(follow(4000, o) == std::vector<std::int64_t>{4000, 100, 4000});
  CHECK_THROWS_AS(follow(100, o), app::ProgramError);
  o.decay_follows = false;  // --lr-decay 0
  CHECK(follow(100, o) == std::vector<std::int64_t>{100, 100, 0});
}

TEST_CASE("LearnerSnapshot: everything is as before, also after steps that were not finite") {
  Rng rng(0, Purpose::init);
  nn::Linear linear(3, 5, rng);
  nn::FlatParameters flat(linear);
  nn::Adam adam(flat);
  nn::Ema ema(flat, 0.9);
  const auto state = [&] {
    std::vector<float> all;
    for (const Tensor& t : {flat.master, flat.model, flat.grads, adam.m, adam.v, ema.values}) {
      for (const float x : t.to_vector<float>()) all.push_back(x);
    }
    for (const std::int64_t n : {adam.steps(), adam.skipped_in_a_row(), ema.updates()})
      all.push_back(static_cast<float>(n));
    return all;
  };
  const auto step = [&](double gradient) {
    flat.grads.fill(gradient);
    adam.step_if_finite({.average = &ema});
  };
  for (int i = 0; i < 3; ++i) step(0.5);
  flat.zero_grad();
  const auto before = state();
  app::LearnerSnapshot snapshot(flat, adam, &ema);
  for (int i = 0; i < 4; ++i) step(-1.0);
  step(std::numeric_limits<double>::quiet_NaN());
  CHECK(adam.skipped_in_a_row() == 1);
  CHECK(state() != before);
  snapshot.restore();
  CHECK(state() == before);
}
