#include "nn/ema.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/engine.h"
#include "tests/nn/tiny_model.h"

using namespace ito;

namespace {

nn::FlatParameters one_parameter(const Tensor& values) {
  return nn::FlatParameters(std::vector<nn::NamedTensor>{{"p", parameter(values.clone())}});
}

double first(const Tensor& t) { return t.alias({}).item(); }

}  // namespace

TEST_CASE("Ema: the average of a constant is that constant, bit for bit") {
  Rng rng(1, Purpose::test);
  auto flat = one_parameter(randn(rng, {1000}));
  nn::Ema ema(flat, 0.9999);
  for (int i = 0; i < 1000; ++i) ema.update();
  CHECK(ema.values.to_vector<float>() == flat.values.to_vector<float>());
}

TEST_CASE("Ema: a linear drift gives the geometric sum") {
  // values s at update s = 1..n from 0: sum (1 - d) d^(n-s) s = n - d (1 - d^n) / (1 - d).
  const double d = 0.97;
  auto flat = one_parameter(Tensor::zeros({1}, DType::f64));
  nn::Ema ema(flat, d, /*warmup=*/false);
  for (int n = 1; n <= 300; ++n) {
    flat.values.fill(n);
    ema.update();
    CHECK(first(ema.values) ==
          doctest::Approx(n - d * (1 - std::pow(d, n)) / (1 - d)).epsilon(1e-12));
  }
}

TEST_CASE("Ema: the warm-up is min(decay, (1 + n) / (10 + n))") {
  auto flat = one_parameter(Tensor::zeros({1}, DType::f64));
  nn::Ema ema(flat, 0.9999);
  CHECK(ema.decay_at(0) == 0.1);
  CHECK(ema.decay_at(90) == 0.91);
  CHECK(ema.decay_at(89980) < 0.9999);
  CHECK(ema.decay_at(89990) == 0.9999);
  CHECK(ema.decay_at(10000000) == 0.9999);
  // Two updates by hand: 0 -> 0.9 * 1 -> 2/11 * 0.9 + 9/11 * 2.
  flat.values.fill(1.0);
  ema.update();
  CHECK(first(ema.values) == doctest::Approx(0.9).epsilon(1e-15));
  flat.values.fill(2.0);
  ema.update();
  CHECK(first(ema.values) == doctest::Approx(2.0 / 11 * 0.9 + 9.0 / 11 * 2).epsilon(1e-15));
  CHECK(ema.updates() == 2);
}

TEST_CASE("EmaScope: the model has the average inside, and its own weights again after") {
  auto model = test::make_tiny_model();
  nn::FlatParameters flat(model);
  nn::Ema ema(flat, 0.5);
  Rng rng(1, Purpose::test);
  ema.values.assign(randn(rng, ema.values.shape()));
  const auto own = flat.values.to_vector<float>(), average = ema.values.to_vector<float>();
  {
    const nn::EmaScope use(ema);
    CHECK(flat.values.to_vector<float>() == average);
    CHECK(model.head.bias.to_vector<float>() ==
          flat.views(ema.values).back().second.to_vector<float>());
  }
  CHECK(flat.values.to_vector<float>() == own);
  CHECK(ema.values.to_vector<float>() == average);
}

TEST_CASE("Ema: continues from its values and number of updates") {
  auto flat = one_parameter(Tensor::full({5}, 1.0));
  nn::Ema straight(flat, 0.99), first_half(flat, 0.99);
  for (int i = 0; i < 3; ++i) {
    flat.values.fill(i);
    straight.update();
    first_half.update();
  }
  nn::Ema second_half(flat, 0.99);
  second_half.values.assign(first_half.values);
  second_half.set_updates(first_half.updates());
  flat.values.fill(9.0);
  straight.update();
  second_half.update();
  CHECK(straight.values.to_vector<float>() == second_half.values.to_vector<float>());
}

TEST_CASE("Ema: decay must be in [0, 1)") {
  auto flat = one_parameter(Tensor::zeros({1}));
  CHECK_THROWS_WITH_AS(nn::Ema(flat, 1.0), "Ema: decay must be in [0, 1); got 1", ValueError);
  CHECK_THROWS_AS(nn::Ema(flat, NAN), ValueError);
}
