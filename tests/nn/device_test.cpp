// Training state on every device: skipped steps, bf16 working parameters, averages, recorded steps.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/engine.h"
#include "nn/adam.h"
#include "nn/step_history.h"
#include "tensor/cuda_graph.h"
#include "tensor/kernels/fill.h"
#include "tensor/launch.h"
#include "tests/devices.h"
#include "tests/nn/tiny_model.h"

using namespace ito;

namespace {

constexpr std::int64_t size = 1003;

Tensor numbers(std::uint64_t seed) {
  Rng rng(seed, Purpose::test);
  return randn(rng, {size});
}

nn::FlatParameters one_parameter(Device device, DType dtype) {
  return nn::FlatParameters(std::vector<nn::NamedTensor>{{"p", parameter(numbers(1))}}, device,
                            dtype);
}

// The flat buffer has zeros behind its `size` numbers.
void set_grads(nn::FlatParameters& flat, const Tensor& g) {
  Tensor host = Tensor::zeros(flat.grads.shape(), flat.grads.dtype());
  launch<kernel::Cast>(Device::cpu(),
                       {g.raw(), host.mutable_raw(), size, DType::f32, host.dtype()});
  flat.grads.assign(host);
}

// bf16 parameters may be held on the CPU too: only a network cannot compute with them there.
constexpr DType dtypes[] = {DType::f32, DType::bf16};

// Everything that training changes.
struct State {
  std::vector<float> values, m, v, average;
  std::vector<bf16> working;
  std::int64_t steps, updates;
  friend bool operator==(const State&, const State&) = default;
};
State state_of(const nn::FlatParameters& flat, const nn::Adam& adam, const nn::Ema& ema) {
  return {flat.master.to_vector<float>(),
          adam.m.to_vector<float>(),
          adam.v.to_vector<float>(),
          ema.values.to_vector<float>(),
          flat.mixed() ? flat.model.to_vector<bf16>() : std::vector<bf16>{},
          adam.steps(),
          ema.updates()};
}

void check_rounded(const Tensor& working, const Tensor& from) {
  const auto narrow = working.to_vector<bf16>();
  const auto wide = from.to_vector<float>();
  bool same = narrow.size() == wide.size();
  for (std::size_t i = 0; same && i < wide.size(); ++i) same = narrow[i] == bf16(wide[i]);
  CHECK(same);
}

}  // namespace

TEST_CASE("step_if_finite: on the CPU the bits of grad_norm, clip_factor, step and update") {
  auto a = one_parameter(Device::cpu(), DType::f32), b = one_parameter(Device::cpu(), DType::f32);
  nn::Adam fused(a, {.weight_decay = 0.1}), separate(b, {.weight_decay = 0.1});
  nn::Ema average_a(a, 0.99), average_b(b, 0.99);
  for (int s = 0; s < 5; ++s) {
    const Tensor g = numbers(static_cast<std::uint64_t>(10 + s));
    set_grads(a, g);
    set_grads(b, g);
    fused.set_lr(1e-2);
    fused.step_if_finite({.max_norm = 3.0, .average = &average_a});
    separate.step(1e-2, nn::clip_factor(nn::grad_norm(b), 3.0));
    average_b.update();
    CHECK(fused.grad_norm() == nn::grad_norm(b));
  }
  CHECK(a.master.to_vector<float>() == b.master.to_vector<float>());
  CHECK(fused.v.to_vector<float>() == separate.v.to_vector<float>());
  CHECK(average_a.values.to_vector<float>() == average_b.values.to_vector<float>());
  CHECK(average_a.updates() == 5);
}

TEST_CASE("step_if_finite: the device agrees with the CPU, and bf16 weights are rounded masters") {
  for (const DType dtype : dtypes) {
    std::vector<State> states;
    for (const Device device : testing::devices()) {
      auto flat = one_parameter(device, dtype);
      nn::Adam adam(flat, {.weight_decay = 0.1});
      nn::Ema ema(flat, 0.99);
      for (int s = 0; s < 6; ++s) {
        set_grads(flat, numbers(static_cast<std::uint64_t>(10 + s)));
        adam.set_lr(1e-2 / (s + 1));
        adam.step_if_finite({.max_norm = 3.0, .average = &ema});
        if (flat.mixed()) check_rounded(flat.model, flat.master);
      }
      states.push_back(state_of(flat, adam, ema));
    }
    const auto check_near = [](const std::vector<float>& a, const std::vector<float>& b) {
      double worst = 0.0;
      for (std::size_t i = 0; i < a.size(); ++i) {
        worst = std::max(worst, std::abs(double{a[i]} - double{b[i]}));
      }
      CHECK(worst < 1e-6);  // 6 steps, a few roundings of numbers up to 4 each
    };
    for (const State& state : states) {
      check_near(state.values, states[0].values);
      check_near(state.m, states[0].m);
      check_near(state.v, states[0].v);
      check_near(state.average, states[0].average);
      CHECK(state.steps == 6);
      CHECK(state.updates == 6);
    }
  }
}

TEST_CASE("step_if_finite: agrees with PyTorch's Adam and AdamW on every device") {
  const auto file = nn::load_safetensors(ITO_FIXTURES "/adam.safetensors");
  for (const Device device : testing::devices()) {
    for (const auto& [optimizer, decay] : {std::pair("adam", 0.0), std::pair("adamw", 0.1)}) {
      const auto at = [&](const std::string& name) { return file.at("f32/" + name); };
      nn::FlatParameters flat(std::vector<nn::NamedTensor>{{"p", parameter(at("p0").clone())}},
                              device);
      nn::Adam adam(flat, {.beta2 = 0.99, .weight_decay = decay});
      const std::int64_t n = at("p0").numel();
      for (std::int64_t s = 0; s < 6; ++s) {
        flat.views(flat.grads)[0].second.assign(at("grads").view({n}, s * n));
        adam.set_lr(1e-2 / static_cast<double>(s + 1));
        adam.step_if_finite({});
        const auto p = flat.views(flat.master)[0].second.to_vector<float>();
        const auto torch = at(std::string(optimizer) + "/p").view({n}, s * n).to_vector<float>();
        double worst = 0.0;
        for (std::size_t i = 0; i < p.size(); ++i) {
          worst = std::max(worst, std::abs(double{p[i]} - double{torch[i]}) /
                                      std::max(std::abs(double{torch[i]}), 0.1));
        }
        CHECK(worst < 1e-6);
      }
    }
  }
}

TEST_CASE("step_if_finite: a bad gradient or loss changes nothing, and five in a row end it") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Device device : testing::devices()) {
    for (const DType dtype : dtypes) {
      auto flat = one_parameter(device, dtype);
      nn::Adam adam(flat);
      nn::Ema ema(flat, 0.99);
      const Tensor good = Tensor::full({3}, 1.0, DType::f32, device);
      const Tensor bad = Tensor::from<float>({1.0f, nan, 1.0f}, {3}).to(device);
      const auto step = [&](const Tensor& losses) {
        adam.step_if_finite({.average = &ema, .losses = losses, .max_consecutive_skips = 5});
      };
      set_grads(flat, numbers(2));
      step(good);
      State before = state_of(flat, adam, ema);
      CHECK(before.steps == 1);

      step(bad);
      CHECK(adam.skipped_in_a_row() == 1);
      Tensor poisoned = numbers(2);
      poisoned.mutable_data<float>()[700] = -std::numeric_limits<float>::infinity();
      set_grads(flat, poisoned);
      step(good);
      CHECK(adam.skipped_in_a_row() == 2);
      CHECK_FALSE(std::isfinite(adam.grad_norm()));
      CHECK(state_of(flat, adam, ema) == before);

      set_grads(flat, numbers(3));
      step(good);
      CHECK(adam.skipped_in_a_row() == 0);
      before = state_of(flat, adam, ema);
      CHECK(before.steps == 2);
      for (int i = 0; i < 5; ++i) step(bad);
      step(good);  // too late
      CHECK(adam.skipped_in_a_row() == 6);
      CHECK(state_of(flat, adam, ema) == before);
    }
  }
}

TEST_CASE("a recorded step of the optimiser gives the bits of steps one by one") {
  for (const Device device : testing::devices()) {
    for (const DType dtype : dtypes) {
      const auto train = [&](bool graph) {
        auto flat = one_parameter(device, dtype);
        nn::Adam adam(flat, {.weight_decay = 0.01});
        nn::Ema ema(flat, 0.99);
        nn::StepHistory history(8, 2, device);
        Tensor losses = Tensor::zeros({2}, DType::f32, device);
        const Tensor t = Tensor::full({2}, 7, DType::i64, device);
        CudaGraph step(
            device,
            [&] {
              adam.step_if_finite({.max_norm = 2.0, .average = &ema, .losses = losses});
              history.add(losses, t, adam);
            },
            graph);
        std::vector<double> seen;
        for (int s = 0; s < 6; ++s) {
          set_grads(flat, numbers(static_cast<std::uint64_t>(20 + s)));
          losses.fill(s == 3 ? std::nan("") : 1.0);
          adam.set_lr(1e-2 * (s + 1));
          step.run();
          if (s % 3 != 2) continue;
          for (const auto& row : history.drain()) {
            CHECK(row.t == std::vector<std::int64_t>{7, 7});
            CHECK(row.updated == std::isfinite(row.losses[1]));
            seen.push_back(row.grad_norm);
          }
        }
        CHECK(seen.size() == 6);
        CHECK(adam.steps() == 5);
        return std::pair(state_of(flat, adam, ema), seen);
      };
      CHECK(train(true) == train(false));
    }
  }
}

TEST_CASE("StepHistory: says when steps were lost, and what it was given") {
  for (const Device device : testing::devices()) {
    auto flat = one_parameter(device, DType::f32);
    nn::Adam adam(flat);
    nn::StepHistory history(2, 3, device);
    const Tensor t = Tensor::from<std::int64_t>({0, 5, 999}, {3}).to(device);
    CHECK(history.drain().empty());
    adam.step_if_finite({});
    history.add(Tensor::from<float>({0.5f, 1e30f, -3.0f}, {3}).to(device), t, adam);
    const auto rows = history.drain();
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].losses == std::vector<float>{0.5f, 1e30f, -3.0f});
    CHECK(rows[0].t == std::vector<std::int64_t>{0, 5, 999});
    CHECK(rows[0].updated);
    for (int i = 0; i < 3; ++i) history.add(Tensor::zeros({3}, DType::f32, device), t, adam);
    CHECK_THROWS_WITH_AS(history.drain(),
                         "StepHistory: 3 steps since the last drain() where 2 have room", Error);
  }
}

TEST_CASE("EmaScope: with bf16 weights the model has the rounded average, then its own bits") {
  for (const Device device : testing::devices()) {
    auto flat = one_parameter(device, DType::bf16);
    nn::Ema ema(flat, 0.5);
    ema.values.fill(0.3337);
    const auto own = flat.model.to_vector<bf16>();
    const auto masters = flat.master.to_vector<float>();
    {
      const nn::EmaScope use(ema);
      check_rounded(flat.model, ema.values);
      CHECK(flat.master.to_vector<float>() == masters);
    }
    CHECK(flat.model.to_vector<bf16>() == own);
  }
}

TEST_CASE("FlatParameters: bf16 tensors of a model, with f32 masters and files") {
  for (const Device device : testing::devices()) {
    auto model = test::make_tiny_model(), other = test::make_tiny_model();
    const Tensor handle = model.head.bias;
    nn::FlatParameters flat(model, device, DType::bf16);
    CHECK(flat.mixed());
    CHECK(handle.dtype() == DType::bf16);
    CHECK(handle.shares_storage_with(flat.model));
    CHECK(handle.grad().dtype() == DType::bf16);
    CHECK(handle.grad().shares_storage_with(flat.grads));
    check_rounded(flat.model, flat.master);
    const auto wanted = nn::named_parameters(other);
    const auto views = flat.views(flat.master);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      CHECK(views[i].second.to_vector<float>() == wanted[i].second.to_vector<float>());
    }
  }
  const Tensor p = parameter(Tensor::zeros({2}, DType::f64));
  CHECK_THROWS_WITH_AS(
      nn::FlatParameters(std::vector<nn::NamedTensor>{{"p", p}}, Device::cpu(), DType::bf16),
      "FlatParameters: f64 parameters cannot be worked with in bf16; f32 ones in bf16 can",
      DTypeError);
}
