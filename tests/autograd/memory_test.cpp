// What a backward pass holds while it runs, in bytes of live tensors.
#include "tensor/memory.h"

#include <doctest/doctest.h>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/reduce.h"

using namespace ito;

namespace {

constexpr std::int64_t side = 64;
constexpr double bytes = side * side * sizeof(double);  // of every tensor below

Tensor matrix(double value) { return Tensor::full({side, side}, value, DType::f64); }

// Most bytes that were live at once during f, above those before it, in tensors of 64 x 64.
template <class F>
double peak_in_matrices(const F& f) {
  const auto before = memory::usage().current;
  memory::reset_peak();
  f();
  return static_cast<double>(memory::usage().peak - before) / bytes;
}

// Each square keeps its input.
Tensor squares(Tensor h, int count) {
  for (int i = 0; i < count; ++i) h = square(h);
  return h;
}

}  // namespace

TEST_CASE("backward: activations are freed as it consumes them") {
  const Tensor x = parameter(matrix(1.0));
  const auto live_half_way = [&](GradOptions options) {
    std::size_t live = 0;
    Tensor h = squares(x, 10);
    h = record("spy", h.view(), {{h, [&](const Tensor& dy) {
                                    live = memory::usage().current;
                                    return dy;
                                  }}});
    const Tensor loss = sum(squares(h, 10));
    const std::size_t forward = memory::usage().current;
    backward(loss, options);
    x.set_grad({});
    return (static_cast<double>(live) - static_cast<double>(forward)) / bytes;
  };
  // Ten of the twenty squares are behind us, and kept an input each; one gradient has come.
  CHECK(live_half_way({}) < -7.0);
  CHECK(live_half_way({.retain_graph = true}) > 0.0);
}

TEST_CASE("backward: does not hold all gradients of parameters a second time") {
  std::vector<Tensor> w;
  for (int i = 0; i < 12; ++i) {
    w.push_back(parameter(matrix(1.0 / side)));
    w.back().set_grad(matrix(0.0));
  }
  const auto loss_of = [&] {
    Tensor h = Tensor::full({1, side}, 1.0, DType::f64);
    for (const Tensor& one : w) h = matmul(h, one);
    return sum(h);
  };
  const Tensor one = loss_of(), two = loss_of();
  CHECK(peak_in_matrices([&] { backward(one); }) < 3.0);
  // grad() has to: it returns them together.
  CHECK(peak_in_matrices([&] { grad(two, w); }) > 11.0);
}

TEST_CASE("backward: gradients of a tensor with many readers add up in one place") {
  const Tensor x = parameter(matrix(2.0));
  Tensor total;
  const Tensor h = 1.0 * x;
  for (int i = 1; i <= 10; ++i) {
    const Tensor y = static_cast<double>(i) * h;
    total = total.defined() ? total + y : y;
  }
  const Tensor loss = sum(total);
  total = Tensor();
  // The running sum, the next summand, and the gradient that the readers share.
  CHECK(peak_in_matrices([&] { backward(loss); }) < 5.0);
  CHECK(x.grad().to_vector<double>()[0] == 55.0);
}

TEST_CASE("grad: a sum in place does not reach tensors that somebody else holds") {
  const Tensor x = parameter(matrix(3.0));
  const Tensor seed = matrix(1.0), kept = matrix(7.0);
  // Rules that hand out what is not theirs to give away: the seed twice over, and a capture.
  const Tensor y = record("twice", x.view(),
                          {{x, [](const Tensor& dy) { return dy; }},
                           {x, [](const Tensor& dy) { return dy; }},
                           {x, [kept](const Tensor&) { return kept; }},
                           {x, [kept](const Tensor&) { return kept.view(); }}});
  CHECK(grad(y, {x}, {.retain_graph = true}, seed)[0].to_vector<double>()[5] == 16.0);
  CHECK(seed.to_vector<double>()[5] == 1.0);
  CHECK(kept.to_vector<double>()[5] == 7.0);
  CHECK(grad(y, {x}, {}, seed)[0].to_vector<double>()[5] == 16.0);
  // A target in the middle: its gradient is returned, and flows on.
  const Tensor middle = 2.0 * x, end = 1.0 * middle;
  const auto list = grad(sum(end + end), {middle, x});
  CHECK(list[0].to_vector<double>()[0] == 2.0);
  CHECK(list[1].to_vector<double>()[0] == 4.0);
}
