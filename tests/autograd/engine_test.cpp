#include "autograd/engine.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/reduce.h"
#include "tensor/memory.h"

using namespace ito;

namespace {

Tensor leaf(std::initializer_list<double> values, const Shape& shape) {
  return parameter(Tensor::from(values, shape));
}

std::vector<double> values(const Tensor& t) { return t.to_vector<double>(); }

using List = std::vector<double>;

}  // namespace

TEST_CASE("grad: the third derivative of x^4 is 24 x") {
  const Tensor x = parameter(Tensor::scalar(1.5, DType::f64));
  Tensor y = square(square(x));
  for (int i = 0; i < 3; ++i) y = grad<1>(y, {x}, {.create_graph = true})[0];
  CHECK(y.item() == doctest::Approx(24 * 1.5).epsilon(1e-12));
}

TEST_CASE("grad: the third derivatives of transcendental functions match their closed forms") {
  const double at = 0.7;
  const Tensor x = parameter(Tensor::scalar(at, DType::f64));
  const auto third = [&](Tensor y) {
    for (int i = 0; i < 3; ++i) y = grad<1>(y, {x}, {.create_graph = true})[0];
    return y.item();
  };
  CHECK(third(exp(2.0 * x)) == doctest::Approx(8 * std::exp(1.4)).epsilon(1e-12));
  CHECK(third(sin(x)) == doctest::Approx(-std::cos(at)).epsilon(1e-12));
  CHECK(third(log(x)) == doctest::Approx(2 / std::pow(at, 3)).epsilon(1e-12));
  CHECK(third(1.0 / x) == doctest::Approx(-6 / std::pow(at, 4)).epsilon(1e-12));
  const double s = 1 / (1 + std::exp(-at)), ds = s * (1 - s);
  CHECK(third(sigmoid(x)) == doctest::Approx(ds * (1 - 6 * ds)).epsilon(1e-12));
  // silu''' = 3 sigmoid'' + x sigmoid''', through its reference
  CHECK(third(silu(x)) ==
        doctest::Approx(3 * ds * (1 - 2 * s) + at * ds * (1 - 6 * ds)).epsilon(1e-12));
}

TEST_CASE("grad: a Hessian-vector product of x^T A x is (A + A^T) v") {
  const Tensor a = Tensor::from<double>({1, 2, 3, 4, 5, 6, 7, 8, 10}, {3, 3});
  const Tensor x = leaf({0.1, -0.2, 0.3}, {3, 1});
  const Tensor v = Tensor::from<double>({1, -1, 2}, {3, 1});
  const Tensor y = sum(matmul(matmul(x, a, true), x));
  const Tensor g = grad<1>(y, {x}, {.create_graph = true})[0];
  const Tensor hv = grad<1>(sum(g * v), {x})[0];
  // (A + A^T) = {{2, 6, 10}, {6, 10, 14}, {10, 14, 20}}
  CHECK(values(hv) == List{16, 24, 36});
}

TEST_CASE("backward: a chain of 300,000 operations is differentiated and freed without recursion") {
  const std::int64_t before = live_nodes();
  {
    const Tensor x = parameter(Tensor::scalar(1.0, DType::f64));
    Tensor y = x;
    for (int i = 0; i < 300000; ++i) y = y + 1e-3;
    backward(y);
    CHECK(x.grad().item() == 1.0);
    Tensor z = x;  // and a chain that is dropped without a backward
    for (int i = 0; i < 300000; ++i) z = z * x;
  }
  CHECK(live_nodes() == before);
}

TEST_CASE("grad: a value used many times gets the sum of its gradients") {
  const Tensor x = parameter(Tensor::scalar(2.0, DType::f64));
  Tensor y = x;
  for (int i = 0; i < 10; ++i) y = y + y;  // 1024 x, 2^10 paths, visited once each
  CHECK(grad<1>(y, {x})[0].item() == 1024.0);
  const Tensor h = x * x;
  const Tensor z = h * h + 3.0 * h;  // d/dh = 2 h + 3
  CHECK(grad<1>(z, {h}, {.retain_graph = true})[0].item() == 11.0);
  CHECK(grad<1>(z, {x})[0].item() == 44.0);
}

TEST_CASE("grad: nothing leaks, whether the graph was used, kept, differentiated or dropped") {
  const std::int64_t nodes = live_nodes();
  const std::size_t bytes = memory::usage().current;
  {
    const Tensor x = leaf({1, 2, 3, 4}, {2, 2});
    const auto f = [&] { return sum(silu(matmul(x, exp(x))) * sigmoid(x)); };
    backward(f());
    backward(f(), {.retain_graph = true});
    const Tensor g = grad<1>(f(), {x}, {.create_graph = true})[0];
    grad(sum(square(g)), {x});
    const Tensor dropped = f();
    CHECK(live_nodes() > nodes);
  }
  CHECK(live_nodes() == nodes);
  CHECK(memory::usage().current == bytes);
}

TEST_CASE("backward: a graph is freed while its loss still lives") {
  const Tensor x = parameter(Tensor::zeros({1000}, DType::f64));
  const std::size_t bytes = memory::usage().current;
  const Tensor loss = sum(exp(exp(exp(x))));
  CHECK(memory::usage().current >= bytes + 3 * 8000);
  backward(loss);
  CHECK(memory::usage().current <= bytes + 8000 + 64);  // the gradient and the loss
}

TEST_CASE("grad: gradients of broadcast inputs have the inputs' shapes") {
  const Tensor a = parameter(Tensor::full({2, 1, 3}, 2.0, DType::f64));
  const Tensor b = parameter(Tensor::full({4, 1}, 3.0, DType::f64));
  const Tensor c = parameter(Tensor::scalar(5.0, DType::f64));
  const auto [da, db, dc] = grad<3>(sum(a * b * c), {a, b, c});
  CHECK(da.shape() == Shape{2, 1, 3});
  CHECK(values(da) == List(6, 60.0));  // 4 rows of 3 * 5
  CHECK(db.shape() == Shape{4, 1});
  CHECK(values(db) == List(4, 60.0));  // 6 elements of 2 * 5
  CHECK(dc.shape() == Shape{});
  CHECK(dc.item() == 144.0);  // 24 elements of 2 * 3
}

TEST_CASE("grad: an input that was changed after the forward pass is an error") {
  const auto text = "mul: an input or the output was changed after the forward pass";
  Tensor x = leaf({1, 2}, {2});
  SUBCASE("a parameter") {
    const Tensor y = sum(x * x);
    x.fill(3.0);
    CHECK_THROWS_WITH_AS(grad<1>(y, {x}), text, GradError);
  }
  SUBCASE("a constant beside it") {
    Tensor k = Tensor::from<double>({5, 6}, {2});
    const Tensor y = sum(x * k);
    k.mutable_data<double>()[0] = 7;
    CHECK_THROWS_WITH_AS(grad<1>(y, {x}), text, GradError);
  }
  SUBCASE("through another handle on the same elements") {
    Tensor h = x + 1.0;
    const Tensor y = sum(h * h);
    h.view({1}, 1).fill(0.0);
    CHECK_THROWS_WITH_AS(grad<1>(y, {x}), text, GradError);
  }
  SUBCASE("an output that its rule keeps") {
    Tensor e = exp(x);
    const Tensor y = sum(e);
    e.fill(0.0);
    CHECK_THROWS_AS(grad<1>(y, {x}), GradError);
  }
  SUBCASE("an input of a fused op") {
    Tensor h = x + 1.0;
    const Tensor y = sum(silu(h));
    h.fill(0.0);
    CHECK_THROWS_AS(grad<1>(y, {x}), GradError);
  }
}

TEST_CASE("grad: a second backward needs retain_graph in the first") {
  const Tensor x = leaf({1, 2}, {2});
  const Tensor y = sum(x * x);
  CHECK(values(grad<1>(y, {x}, {.retain_graph = true})[0]) == List{2, 4});
  CHECK(values(grad<1>(y, {x})[0]) == List{2, 4});
  CHECK_THROWS_WITH_AS(
      grad<1>(y, {x}),
      "sum: its graph was freed by an earlier backward; pass retain_graph = true there", GradError);
  CHECK_THROWS_AS(backward(y), GradError);
}

TEST_CASE("grad: a loss needs history, and a seed unless it has one element") {
  const Tensor x = leaf({1, 2}, {2});
  CHECK_THROWS_WITH_AS(backward(detach(x)),
                       "grad: the loss does not depend on a parameter; got loss f64[2] on cpu",
                       GradError);
  CHECK_THROWS_WITH_AS(backward(x * x),
                       "grad: a loss of more than one element needs a seed; got loss f64[2] on cpu",
                       GradError);
  CHECK_THROWS_AS(backward(Tensor()), Error);
  CHECK_THROWS_AS(grad(sum(x), {Tensor()}), Error);
  CHECK_THROWS_WITH_AS(grad(sum(x), {Tensor::scalar(1.0)}),
                       "grad: an input is no parameter and has no history; got input f32[] on cpu",
                       GradError);
  const Tensor seed = Tensor::from<double>({10, 100}, {2});
  CHECK(values(grad(x * x, {x}, {}, seed)[0]) == List{20, 400});
  CHECK_THROWS_AS(grad(x * x, {x}, {}, Tensor::zeros({3}, DType::f64)), ShapeError);
  CHECK_THROWS_AS(grad(x * x, {x}, {}, Tensor::zeros({2})), DTypeError);
}

TEST_CASE("grad: inputs that the loss does not depend on get zeros") {
  const Tensor x = leaf({1, 2}, {2});
  const Tensor y = leaf({3}, {1});
  const auto [dx, dy] = grad<2>(sum(x), {x, y});
  CHECK(values(dx) == List{1, 1});
  CHECK(dy.shape() == Shape{1});
  CHECK(values(dy) == List{0});
}

TEST_CASE("grad: does not touch .grad, and takes one input twice") {
  const Tensor x = leaf({1, 2}, {2});
  const auto [a, b] = grad<2>(sum(square(x)), {x, x});
  CHECK(values(a) == List{2, 4});
  CHECK(values(b) == List{2, 4});
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("backward: gradients add up in .grad, each parameter's in its own memory") {
  const Tensor x = leaf({1, 2}, {2}), y = leaf({3, 4}, {2});
  backward(sum(x + y));  // one rule hands the same tensor to both
  backward(sum(2.0 * x + y));
  CHECK(values(x.grad()) == List{3, 3});
  CHECK(values(y.grad()) == List{2, 2});
  CHECK_FALSE(x.grad().shares_storage_with(y.grad()));
  CHECK_FALSE(requires_grad(x.grad()));
}

TEST_CASE("backward: writes into a gradient that has a home, and stays there") {
  Tensor home = Tensor::zeros({4}, DType::f64);
  const Tensor x = leaf({1, 2}, {2});
  x.set_grad(home.view({2}, 1));
  backward(sum(square(x)));
  CHECK(values(home) == List{0, 2, 4, 0});
  CHECK(x.grad().shares_storage_with(home));
}

TEST_CASE("backward: of a parameter itself is one") {
  const Tensor x = parameter(Tensor::scalar(5.0, DType::f64));
  backward(x);
  CHECK(x.grad().item() == 1.0);
}

TEST_CASE("backward: a parameter that only the graph still holds is no trouble") {
  const Tensor x = leaf({1, 2}, {2});
  Tensor loss;
  {
    const Tensor gone = leaf({3, 4}, {2});
    loss = sum(x * gone);
  }
  backward(loss);
  CHECK(values(x.grad()) == List{3, 4});
}

TEST_CASE("backward: refuses create_graph, which would make a cycle of memory") {
  const Tensor x = leaf({1}, {1});
  CHECK_THROWS_AS(backward(sum(x * x), {.create_graph = true}), GradError);
}

TEST_CASE("NoGrad: nothing is recorded while one lives, also when it is nested") {
  const Tensor x = leaf({1, 2}, {2});
  const std::int64_t nodes = live_nodes();
  {
    const NoGrad outer;
    CHECK_FALSE(grad_enabled());
    { const NoGrad inner; }
    CHECK_FALSE(grad_enabled());
    CHECK_FALSE(requires_grad(x * x));
    CHECK_FALSE(requires_grad(silu(x)));
    CHECK(live_nodes() == nodes);
  }
  CHECK(grad_enabled());
  CHECK(requires_grad(x * x));
}

TEST_CASE("grad: turns recording back on after an error") {
  const Tensor x = leaf({1, 2}, {2});
  const Tensor y = record("broken", sum(x),
                          {{x, [](const Tensor&) -> Tensor { throw ValueError("from a rule"); }}});
  CHECK_THROWS_WITH_AS(backward(y), "from a rule", ValueError);
  CHECK(grad_enabled());
}

TEST_CASE("detach: the same elements, without history") {
  const Tensor x = leaf({1, 2}, {2});
  const Tensor d = detach(x);
  CHECK(d.shares_storage_with(x));
  CHECK_FALSE(requires_grad(d));
  CHECK(values(grad<1>(sum(x * d), {x})[0]) == List{1, 2});
}

TEST_CASE("parameter: integers cannot be differentiated") {
  CHECK_THROWS_AS(parameter(Tensor::zeros({2}, DType::i64)), DTypeError);
}

TEST_CASE("record: a rule that returns a wrong shape is reported with the op's name") {
  const Tensor x = leaf({1, 2}, {2});
  const Tensor y = record("odd", Tensor::zeros({2}, DType::f64),
                          {{x, [](const Tensor&) { return Tensor::zeros({3}, DType::f64); }}});
  CHECK_THROWS_WITH_AS(grad(y, {x}, {}, Tensor::zeros({2}, DType::f64)),
                       "odd: the gradient's shape [3] does not reduce to the input's [2]",
                       GradError);
}

TEST_CASE("ops: dtypes do not mix silently") {
  const Tensor x = leaf({1, 2}, {2});
  CHECK_THROWS_WITH_AS(add(x, Tensor::zeros({2})),
                       "add: a and b must have one dtype; got a f64[2] on cpu, b f32[2] on cpu",
                       DTypeError);
  CHECK_THROWS_AS(matmul(reshape(x, Shape{1, 2}), Tensor::zeros({2, 1})), DTypeError);
}
