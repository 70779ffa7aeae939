#include "autograd/engine.h"

#include <doctest/doctest.h>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"

using namespace ito;

TEST_CASE("grad: the third derivative of x^4 is 24 x") {
  const Tensor x = parameter(Tensor::scalar(1.5, DType::f64));
  Tensor y = square(square(x));
  for (int i = 0; i < 3; ++i) y = grad<1>(y, {x}, {.create_graph = true})[0];
  CHECK(y.item() == doctest::Approx(24 * 1.5).epsilon(1e-12));
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
