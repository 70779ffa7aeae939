// record_fused and checkpoint: ops whose gradient does not come from a formula beside each input.
#include <doctest/doctest.h>

#include "autograd/engine.h"
#include "autograd/gradcheck.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/reduce.h"
#include "tensor/memory.h"
#include "tensor/rng.h"

using namespace ito;

namespace {

using Tensors = std::vector<Tensor>;

// a^2 b, fused by hand; `pullbacks` counts the calls of the kernel-like path.
int pullbacks = 0;
Tensor fused(const Tensor& a, const Tensor& b) {
  Tensor y;
  {
    const NoGrad off;
    y = square(a) * b;
  }
  return record_fused(
      "fused", y, {a, b}, [](const Tensors& in) { return in[0] * in[0] * in[1]; },
      [a, b](const Tensor& dy, const std::vector<bool>& needed) {
        ++pullbacks;
        return Tensors{needed[0] ? 2.0 * a * b * dy : Tensor(),
                       needed[1] ? square(a) * dy : Tensor()};
      });
}

Tensor random(const Shape& shape, std::uint64_t seed) {
  Rng rng(seed, Purpose::test);
  return parameter(randn(rng, shape, DType::f64));
}

double largest_difference(const Tensor& a, const Tensor& b) { return max(abs(a - b)).item(); }

}  // namespace

TEST_CASE("record_fused: the first derivative is the pullback's") {
  const Tensor a = random({3}, 1), b = random({3}, 2);
  pullbacks = 0;
  CHECK(gradcheck([](const Tensors& in) { return fused(in[0], in[1]); }, {a, b}));
  CHECK(pullbacks == 1);
}

TEST_CASE("record_fused: inputs without a gradient are not asked for") {
  const Tensor a = random({3}, 1), b = detach(random({3}, 2));
  bool asked = true;
  const Tensor y = record_fused(
      "probe", Tensor::zeros({3}, DType::f64), {a, b},
      [](const Tensors& in) { return in[0] * in[1]; },
      [&](const Tensor& dy, const std::vector<bool>& needed) {
        asked = needed[1];
        return Tensors{dy, Tensor()};
      });
  backward(sum(y));
  CHECK_FALSE(asked);
}

TEST_CASE("record_fused: higher derivatives are the reference's") {
  const Tensor a = random({3}, 1), b = random({3}, 2);
  pullbacks = 0;
  const auto result =
      gradcheck_second([](const Tensors& in) { return fused(in[0], in[1]); }, {a, b});
  CHECK_MESSAGE(result.ok, result.report);
  // Third: d^3 (a^2 b) / da^2 db = 2
  const Tensor x = parameter(Tensor::scalar(0.3, DType::f64));
  const Tensor z = parameter(Tensor::scalar(0.4, DType::f64));
  Tensor y = fused(x, z);
  y = grad<1>(y, {x}, {.create_graph = true})[0];
  y = grad<1>(y, {x}, {.create_graph = true})[0];
  CHECK(grad<1>(y, {z})[0].item() == doctest::Approx(2.0).epsilon(1e-14));
}

TEST_CASE("record_fused: the second derivative is right where one input is a function of another") {
  // f(x) = x^2 sin(x): the reference must not count the path from b to x a second time.
  const Tensor x = random({4}, 3);
  const auto f = [](const Tensors& in) { return fused(in[0], sin(in[0])); };
  const auto first = gradcheck(f, {x});
  CHECK_MESSAGE(first.ok, first.report);
  const auto second = gradcheck_second(f, {x});
  CHECK_MESSAGE(second.ok, second.report);
  // And where both inputs are one tensor: x^3.
  const auto cube = [](const Tensors& in) { return fused(in[0], in[0]); };
  CHECK(gradcheck(cube, {x}));
  CHECK(gradcheck_second(cube, {x}));
}

namespace {

// A block that makes large intermediate results.
Tensor block(const Tensors& in) {
  Tensor h = matmul(in[0], in[1]);
  for (int i = 0; i < 6; ++i) h = tanh(h * 1.1) + sigmoid(h);
  return h;
}

}  // namespace

TEST_CASE("checkpoint: equal values and gradients, to the bit") {
  const Tensor x = random({5, 4}, 1), w = random({4, 3}, 2);
  const Tensor plain = block({x, w}), saved = recompute(block, {x, w});
  CHECK(plain.to_vector<double>() == saved.to_vector<double>());
  const auto [px, pw] = grad<2>(sum(square(plain)), {x, w});
  const auto [sx, sw] = grad<2>(sum(square(saved)), {x, w});
  CHECK(px.to_vector<double>() == sx.to_vector<double>());
  CHECK(pw.to_vector<double>() == sw.to_vector<double>());
}

TEST_CASE("checkpoint: needs less memory at its peak") {
  const Tensor x = random({64, 64}, 1), w = random({64, 64}, 2);
  const auto peak_of = [&](bool save) {
    const std::size_t before = memory::usage().current;
    memory::reset_peak();
    Tensor h = x;
    for (int i = 0; i < 8; ++i) h = save ? recompute(block, {h, w}) : block({h, w});
    backward(sum(h));
    const std::size_t peak = memory::usage().peak - before;
    x.set_grad({});
    w.set_grad({});
    return peak;
  };
  const std::size_t plain = peak_of(false), saved = peak_of(true);
  CHECK(static_cast<double>(saved) < 0.5 * static_cast<double>(plain));
}

TEST_CASE("checkpoint: second derivatives equal those without it") {
  const Tensor x = random({2, 3}, 1), w = random({3, 2}, 2);
  const auto second = [&](const Tensor& y) {
    const auto [gx, gw] = grad<2>(sum(square(y)), {x, w}, {.create_graph = true});
    return grad<2>(sum(square(gx)) + sum(gw * gw), {x, w});
  };
  const auto plain = second(block({x, w})), saved = second(recompute(block, {x, w}));
  CHECK(largest_difference(plain[0], saved[0]) < 1e-12);
  CHECK(largest_difference(plain[1], saved[1]) < 1e-12);
}

TEST_CASE("checkpoint: a parameter that was not handed in is an error, in every order") {
  const Tensor x = random({2, 2}, 1), forgotten = random({2, 2}, 2);
  const auto f = [&](const Tensors& in) { return in[0] * forgotten; };
  const auto text = "checkpoint: f uses a parameter that is not among its inputs";
  CHECK_THROWS_WITH_AS(backward(sum(recompute(f, {x}))), text, GradError);
  CHECK_THROWS_WITH_AS(grad<1>(sum(recompute(f, {x})), {x}, {.create_graph = true}), text,
                       GradError);
  const Tensor h = forgotten * 2.0;
  const auto g = [&](const Tensors& in) { return in[0] * h; };
  CHECK_THROWS_WITH_AS(backward(sum(recompute(g, {x}))),
                       "checkpoint: f uses a tensor with history that is not among its inputs",
                       GradError);
  CHECK(grad_enabled());
}

TEST_CASE("checkpoint: undefined inputs and inputs without a gradient pass through") {
  const Tensor x = random({2}, 1), k = detach(random({2}, 2));
  const auto f = [](const Tensors& in) { return in[2].defined() ? in[0] : in[0] * in[1]; };
  const Tensor y = recompute(f, {x, k, Tensor()});
  CHECK(grad<1>(sum(y), {x})[0].to_vector<double>() == k.to_vector<double>());
}
