#include "nn/ema.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/engine.h"
#include "nn/adam.h"
#include "tests/nn/tiny_model.h"

using namespace ito;

namespace {

double first(const Tensor& t) { return t.view({}).item(); }

}  // namespace

TEST_CASE("Ema: the average of a constant is that constant, bit for bit") {
  Rng rng(1, Purpose::test);
  auto flat = test::one_parameter(randn(rng, {1000}));
  nn::Ema ema(flat, 0.9999);
  for (int i = 0; i < 1000; ++i) ema.update();
  CHECK(ema.values.to_vector<float>() == flat.master.to_vector<float>());
}

TEST_CASE("Ema: a linear drift gives the geometric sum") {
  // values s at update s = 1..n from 0: sum (1 - d) d^(n-s) s = n - d (1 - d^n) / (1 - d).
  const double d = 0.97;
  auto flat = test::one_parameter(Tensor::zeros({1}, DType::f64));
  nn::Ema ema(flat, {.decay = d, .warmup = nn::EmaWarmup::none});
  for (int n = 1; n <= 300; ++n) {
    flat.master.fill(n);
    ema.update();
    CHECK(first(ema.values) ==
          doctest::Approx(n - d * (1 - std::pow(d, n)) / (1 - d)).epsilon(1e-12));
  }
}

TEST_CASE("Ema: the warm-up is min(decay, (1 + n) / (10 + n))") {
  auto flat = test::one_parameter(Tensor::zeros({1}, DType::f64));
  nn::Ema ema(flat, 0.9999);
  CHECK(ema.decay_at(0) == 0.1);
  CHECK(ema.decay_at(90) == 0.91);
  CHECK(ema.decay_at(89980) < 0.9999);
  CHECK(ema.decay_at(89990) == 0.9999);
  CHECK(ema.decay_at(10000000) == 0.9999);
  // Two updates by hand: 0 -> 0.9 * 1 -> 2/11 * 0.9 + 9/11 * 2.
  flat.master.fill(1.0);
  ema.update();
  CHECK(first(ema.values) == doctest::Approx(0.9).epsilon(1e-15));
  flat.master.fill(2.0);
  ema.update();
  CHECK(first(ema.values) == doctest::Approx(2.0 / 11 * 0.9 + 9.0 / 11 * 2).epsilon(1e-15));
  CHECK(ema.updates() == 2);
}

TEST_CASE("Ema: the other warm-ups, and averages that change at some steps only") {
  auto flat = test::one_parameter(Tensor::zeros({1}, DType::f64));
  // 1 - (1 + n / gamma)^-power: with gamma 1 and power 2/3 a memory of (1 + n)^(2/3) updates.
  const nn::Ema power(flat, {.decay = 0.999, .warmup = nn::EmaWarmup::power});
  CHECK(power.decay_at(0) == 0.0);
  CHECK(power.decay_at(7) == doctest::Approx(0.75).epsilon(1e-14));
  CHECK(power.decay_at(999) == doctest::Approx(0.99).epsilon(1e-14));
  CHECK(power.decay_at(31621) < 0.999);  // (1 + n)^(2/3) = 1000 at n = 31621.8
  CHECK(power.decay_at(31622) == 0.999);
  // The half-life is 0.05 n until it is 4000: half of the average is of the last 5 % of the run.
  const nn::Ema half(flat,
                     {.decay = nn::decay_of_half_life(4000), .warmup = nn::EmaWarmup::half_life});
  CHECK(half.decay_at(0) == 0.0);
  CHECK(half.decay_at(20) == doctest::Approx(0.5).epsilon(1e-14));
  CHECK(std::pow(half.decay_at(20'000), 1000) == doctest::Approx(0.5).epsilon(1e-12));
  CHECK(std::pow(half.decay_at(1'000'000), 4000) == doctest::Approx(0.5).epsilon(1e-12));
  // Every tenth step: the average of what is there at steps 9, 19, 29.
  nn::Ema tenth(flat, {.decay = 0.5, .warmup = nn::EmaWarmup::none, .every = 10});
  double wanted = 0.0;
  for (int step = 0; step < 35; ++step) {
    flat.master.fill(step * step);
    tenth.update();
    if (step % 10 == 9) wanted = 0.5 * wanted + 0.5 * step * step;
    CHECK(first(tenth.values) == wanted);
  }
  CHECK(wanted == 0.5 * (0.5 * (0.5 * 81 + 361) + 841));
}

TEST_CASE("Ema: averaging inside Adam's pass is averaging after it, whatever the warm-up") {
  for (const nn::EmaDecay& decay :
       {nn::EmaDecay{.decay = 0.9, .warmup = nn::EmaWarmup::none},
        nn::EmaDecay{.decay = 0.9, .warmup = nn::EmaWarmup::power},
        nn::EmaDecay{.decay = 0.9, .warmup = nn::EmaWarmup::half_life, .ramp = 0.5},
        nn::EmaDecay{.decay = 0.9, .warmup = nn::EmaWarmup::ratio, .every = 3}}) {
    Rng rng(1, Purpose::test);
    auto flat = test::one_parameter(randn(rng, {64}));
    nn::Adam adam(flat);
    nn::Ema inside(flat, decay), after(flat, decay);
    for (int i = 0; i < 12; ++i) {
      flat.grads.assign(randn(rng, {64}));
      adam.step_if_finite({.average = &inside});
      after.update();
      CHECK(inside.values.to_vector<float>() == after.values.to_vector<float>());
    }
    CHECK(inside.updates() == 12);
  }
}

TEST_CASE("EmaScope: the model has the average inside, and its own weights again after") {
  auto model = test::make_tiny_model();
  nn::FlatParameters flat(model);
  nn::Ema ema(flat, 0.5);
  Rng rng(1, Purpose::test);
  ema.values.assign(randn(rng, ema.values.shape()));
  const auto own = flat.master.to_vector<float>(), average = ema.values.to_vector<float>();
  {
    const nn::EmaScope use(ema);
    CHECK(flat.master.to_vector<float>() == average);
    CHECK(model.head.bias.to_vector<float>() ==
          flat.views(ema.values).back().second.to_vector<float>());
  }
  CHECK(flat.master.to_vector<float>() == own);
  CHECK(ema.values.to_vector<float>() == average);
}

TEST_CASE("Ema: continues from its values and number of updates") {
  auto flat = test::one_parameter(Tensor::full({5}, 1.0));
  nn::Ema straight(flat, 0.99), first_half(flat, 0.99);
  for (int i = 0; i < 3; ++i) {
    flat.master.fill(i);
    straight.update();
    first_half.update();
  }
  nn::Ema second_half(flat, 0.99);
  second_half.values.assign(first_half.values);
  second_half.set_updates(first_half.updates());
  flat.master.fill(9.0);
  straight.update();
  second_half.update();
  CHECK(straight.values.to_vector<float>() == second_half.values.to_vector<float>());
}

TEST_CASE("Ema: decay must be in [0, 1)") {
  auto flat = test::one_parameter(Tensor::zeros({1}));
  CHECK_THROWS_WITH_AS(nn::Ema(flat, 1.0), "Ema: decay must be in [0, 1); got 1", ValueError);
  CHECK_THROWS_AS(nn::Ema(flat, NAN), ValueError);
  CHECK_THROWS_AS(nn::Ema(flat, {.power = 0.0}), ValueError);
  CHECK_THROWS_AS(nn::Ema(flat, {.every = 0}), ValueError);
}
