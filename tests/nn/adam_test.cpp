#include "nn/adam.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/engine.h"
#include "nn/ema.h"
#include "tensor/parallel.h"
#include "tests/nn/tiny_model.h"

using namespace ito;

namespace {

std::vector<double> as_doubles(const Tensor& t) {
  if (t.dtype() == DType::f64) return t.to_vector<double>();
  const auto v = t.to_vector<float>();
  return {v.begin(), v.end()};
}

// The difference relative to |b|, at least `floor`.
double worst_difference(const Tensor& a, const Tensor& b, double floor) {
  const auto x = as_doubles(a), y = as_doubles(b);
  REQUIRE(x.size() == y.size());
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    worst = std::max(worst, std::abs(x[i] - y[i]) / std::max(std::abs(y[i]), floor));
  }
  return worst;
}

Tensor view(const nn::FlatParameters& flat, const Tensor& buffer) {
  return flat.views(buffer)[0].second;
}

}  // namespace

TEST_CASE("Adam: equals algorithm 1 of the paper written out in f64, with the bias corrections") {
  const double lr = 0.1, b1 = 0.8, b2 = 0.95, eps = 1e-3;
  std::vector<double> p{1.0, -2.0, 0.5}, m(3, 0.0), v(3, 0.0);
  auto flat = test::one_parameter(Tensor::from(p, {3}));
  nn::Adam adam(flat, {.lr = lr, .beta1 = b1, .beta2 = b2, .eps = eps});
  for (int t = 1; t <= 50; ++t) {
    auto* grad = view(flat, flat.grads).mutable_data<double>();
    for (std::size_t i = 0; i < 3; ++i) {
      const double g = std::sin(t * (static_cast<double>(i) + 1)) + p[i];
      grad[i] = g;
      m[i] = b1 * m[i] + (1 - b1) * g;
      v[i] = b2 * v[i] + (1 - b2) * g * g;
      const double mhat = m[i] / (1 - std::pow(b1, t)), vhat = v[i] / (1 - std::pow(b2, t));
      p[i] -= lr * mhat / (std::sqrt(vhat) + eps);
    }
    adam.step();
    CHECK(worst_difference(view(flat, flat.master), Tensor::from(p, {3}), 1e-3) < 1e-12);
  }
  CHECK(adam.steps() == 50);
}

TEST_CASE("Adam: the first step has the size of the learning rate whatever the gradient's") {
  auto flat = test::one_parameter(Tensor::zeros({3}, DType::f64));
  nn::Adam adam(flat, {.lr = 0.01, .eps = 0.0});
  view(flat, flat.grads).assign(Tensor::from<double>({1e-6, -3.0, 1e9}, {3}));
  adam.step();
  for (const double p : view(flat, flat.master).to_vector<double>()) {
    CHECK(std::abs(p) == doctest::Approx(0.01).epsilon(1e-12));
  }
}

TEST_CASE("Adam and AdamW: agree with PyTorch step by step") {
  const auto file = nn::load_safetensors(ITO_FIXTURES "/adam.safetensors");
  struct Case {
    std::string dtype, optimizer;
    double tolerance, decay;
  };
  // f32: a few roundings of 2^-24 a step, and the sums cancel where p is near zero.
  for (const Case& c : {Case{"f64", "adam", 1e-13, 0.0}, Case{"f64", "adamw", 1e-13, 0.1},
                        Case{"f32", "adam", 1e-6, 0.0}, Case{"f32", "adamw", 1e-6, 0.1}}) {
    const auto at = [&](const std::string& name) { return file.at(c.dtype + "/" + name); };
    auto flat = test::one_parameter(at("p0"));
    nn::Adam adam(flat, {.beta2 = 0.99, .weight_decay = c.decay});
    const std::int64_t n = at("p0").numel();
    for (std::int64_t s = 0; s < 6; ++s) {
      view(flat, flat.grads).assign(at("grads").view({n}, s * n));
      adam.step(1e-2 / static_cast<double>(s + 1));
      const auto row = [&](const char* name) {
        return at(c.optimizer + "/" + name).view({n}, s * n);
      };
      CHECK(worst_difference(view(flat, flat.master), row("p"), 0.1) < c.tolerance);
      // Terms of m cancel; its error is measured by their size, which sqrt(v) knows.
      const auto m = as_doubles(view(flat, adam.m)), m_torch = as_doubles(row("m"));
      const auto v_torch = as_doubles(row("v"));
      for (std::size_t i = 0; i < m.size(); ++i) {
        CHECK(std::abs(m[i] - m_torch[i]) < c.tolerance * std::sqrt(v_torch[i]));
      }
      CHECK(worst_difference(view(flat, adam.v), row("v"), 1e-24) < 4 * c.tolerance);
    }
  }
}

TEST_CASE("AdamW: without a gradient the parameters shrink by 1 - lr decay, and do not with Adam") {
  auto flat = test::one_parameter(Tensor::full({4}, 2.0, DType::f64));
  nn::Adam adamw(flat, {.weight_decay = 0.5});
  adamw.step(0.1);
  CHECK(view(flat, flat.master).to_vector<double>()[0] ==
        doctest::Approx(2.0 * 0.95).epsilon(1e-15));
  nn::Adam adam(flat);
  adam.step(0.1);
  CHECK(view(flat, flat.master).to_vector<double>()[0] ==
        doctest::Approx(2.0 * 0.95).epsilon(1e-15));
}

TEST_CASE("clip_grad_norm: the norms and the clipped gradients of PyTorch") {
  const auto file = nn::load_safetensors(ITO_FIXTURES "/adam.safetensors");
  const Tensor grads = file.at("f64/grads"), norms = file.at("f64/norms");
  const std::int64_t n = grads.size(1);
  auto flat = test::one_parameter(Tensor::zeros({n}, DType::f64));
  for (std::int64_t s = 0; s < 6; ++s) {
    view(flat, flat.grads).assign(grads.view({n}, s * n));
    const double norm = nn::clip_grad_norm(flat, 1.0);
    CHECK(norm == doctest::Approx(norms.data<double>()[s]).epsilon(1e-14));
    // PyTorch divides by norm + 1e-6.
    CHECK(worst_difference(view(flat, flat.grads), file.at("f64/clipped").view({n}, s * n), 1e-12) <
          1e-6);
    CHECK(nn::grad_norm(flat) == doctest::Approx(std::min(norm, 1.0)).epsilon(1e-14));
  }
}

TEST_CASE("clip_grad_norm: a norm below the bound changes no bit") {
  auto flat = test::one_parameter(Tensor::zeros({3}));
  view(flat, flat.grads).assign(Tensor::from<float>({0.3f, -0.4f, 0.1f}, {3}));
  const auto before = flat.grads.to_vector<float>();
  CHECK(nn::clip_grad_norm(flat, 1.0) < 1.0);
  CHECK(flat.grads.to_vector<float>() == before);
}

TEST_CASE("clip_grad_norm: a norm that is not finite is returned and changes nothing") {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    auto flat = test::one_parameter(Tensor::zeros({3}));
    view(flat, flat.grads).assign(Tensor::from<float>({1.0f, bad, 2.0f}, {3}));
    CHECK_FALSE(std::isfinite(nn::clip_grad_norm(flat, 1.0)));
    CHECK(view(flat, flat.grads).to_vector<float>()[2] == 2.0f);
  }
}

TEST_CASE("grad_norm: squares of large f32 gradients do not overflow") {
  auto flat = test::one_parameter(Tensor::zeros({4}));
  flat.grads.fill(0.0);
  view(flat, flat.grads).fill(1e30);
  CHECK(nn::grad_norm(flat) == doctest::Approx(2e30).epsilon(1e-6));
}

TEST_CASE("Adam: a factor in the step equals scaled gradients") {
  auto a = test::one_parameter(Tensor::full({5}, 1.0)),
       b = test::one_parameter(Tensor::full({5}, 1.0));
  nn::Adam adam_a(a), adam_b(b);
  for (int i = 0; i < 3; ++i) {
    view(a, a.grads).assign(Tensor::from<float>({5, -3, 2, 0.5f, 8}, {5}));
    b.grads.assign(a.grads);
    adam_a.step(0.1, nn::clip_factor(nn::grad_norm(a), 0.7));
    nn::clip_grad_norm(b, 0.7);
    adam_b.step(0.1);
    // The same product g * factor, rounded once more in b.
    CHECK(worst_difference(a.master, b.master, 1e-2) < 1e-6);
  }
}

TEST_CASE("Adam: bad options, rates and factors are refused and change nothing") {
  auto flat = test::one_parameter(Tensor::full({2}, 1.0));
  CHECK_THROWS_WITH_AS(nn::Adam(flat, {.beta1 = 1.0}), "Adam: beta1 must be in [0, 1); got 1",
                       ValueError);
  CHECK_THROWS_AS(nn::Adam(flat, {.lr = -1.0}), ValueError);
  CHECK_THROWS_AS(nn::Adam(flat, {.weight_decay = NAN}), ValueError);
  nn::Adam adam(flat);
  CHECK_THROWS_WITH_AS(adam.step(NAN), "Adam: lr must be finite and >= 0; got nan", ValueError);
  CHECK_THROWS_AS(adam.step(0.1, INFINITY), ValueError);
  CHECK(adam.steps() == 0);
  CHECK_THROWS_AS(nn::clip_factor(NAN, 1.0), ValueError);
  CHECK_THROWS_AS(nn::clip_factor(1.0, 0.0), ValueError);
  CHECK(nn::clip_factor(1e300, INFINITY) == 1.0);
}

TEST_CASE("Adam: saved and loaded it continues bit for bit") {
  const auto grad_at = [](int s) {
    Rng rng(9, Purpose::test);
    rng.seek(static_cast<std::uint64_t>(s));
    return randn(rng, {1000});
  };
  auto a = test::one_parameter(Tensor::full({1000}, 0.5)),
       b = test::one_parameter(Tensor::full({1000}, 0.5));
  nn::Adam straight(a), first(b);
  for (int s = 0; s < 8; ++s) {
    view(a, a.grads).assign(grad_at(s));
    straight.step(1e-3);
  }
  for (int s = 0; s < 4; ++s) {
    view(b, b.grads).assign(grad_at(s));
    first.step(1e-3);
  }
  nn::SafeTensors file{"optimizer", {}, {}};
  for (const auto& [name, t] : first.state(b)) file.tensors.emplace_back(name, t.clone());
  auto c = test::one_parameter(view(b, b.master));
  nn::Adam second(c);
  second.load_state(c, file);
  CHECK(second.steps() == 4);
  for (int s = 4; s < 8; ++s) {
    view(c, c.grads).assign(grad_at(s));
    second.step(1e-3);
  }
  CHECK(a.master.to_vector<float>() == c.master.to_vector<float>());
  CHECK(straight.v.to_vector<float>() == second.v.to_vector<float>());

  file.tensors.pop_back();
  CHECK_THROWS_WITH_AS(second.load_state(c, file),
                       "optimizer: does not fit the model; differences: 1\n  steps: missing in "
                       "the file; expected i64[]",
                       FormatError);
}

TEST_CASE("Adam, EMA and the norm: bitwise the same for any number of threads") {
  const auto run = [](int threads) {
    set_num_threads(threads);
    Rng rng(4, Purpose::test);
    auto flat = test::one_parameter(randn(rng, {300001}));
    nn::Adam adam(flat);
    nn::Ema ema(flat, 0.99);
    std::vector<double> norms;
    for (int s = 0; s < 3; ++s) {
      view(flat, flat.grads).assign(randn(rng, {300001}));
      norms.push_back(nn::grad_norm(flat));
      adam.step(1e-3, nn::clip_factor(norms.back(), 1.0));
      ema.update();
    }
    return std::tuple(norms, flat.master.to_vector<float>(), ema.values.to_vector<float>());
  };
  const int before = num_threads();
  const auto one = run(1);
  for (const int threads : {2, 3, 8}) CHECK(run(threads) == one);
  set_num_threads(before);
}
