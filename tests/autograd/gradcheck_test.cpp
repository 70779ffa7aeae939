#include "autograd/gradcheck.h"

#include <doctest/doctest.h>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/reduce.h"
#include "tensor/error.h"

using namespace ito;

namespace {

using Tensors = std::vector<Tensor>;

const Tensor x = Tensor::from<double>({0.3, -0.7, 1.2}, {3});

// x^2 with a gradient that is wrong by `factor`, or only in the second order.
Tensor square_with(double factor, const Tensor& t) {
  return record("square_with", detach(square(t)),
                {{t, [t, factor](const Tensor& dy) { return factor * 2.0 * t * dy; }}});
}
Tensor square_wrong_in_second_order(const Tensor& t) {
  return record("square_wrong", detach(square(t)),
                {{t, [t](const Tensor& dy) { return 2.0 * detach(t) * dy; }}});
}

}  // namespace

TEST_CASE("gradcheck: a right gradient passes, with a small worst difference") {
  const auto result = gradcheck([](const Tensors& in) { return sin(in[0]) * exp(in[0]); }, {x});
  CHECK(result.ok);
  CHECK(result.worst < 1e-8);
  CHECK(result.report.empty());
}

TEST_CASE("gradcheck: a wrong gradient is reported with its place and both numbers") {
  const auto result = gradcheck([](const Tensors& in) { return square_with(1.001, in[0]); }, {x});
  CHECK_FALSE(result.ok);
  CHECK(result.report.find("input 0 [3], element 0: gradient ") == 0);
  CHECK(result.worst > 1e-4);
  CHECK(gradcheck([](const Tensors& in) { return square_with(1.0, in[0]); }, {x}));
}

TEST_CASE("gradcheck: a gradient that is wrong in one element only is found") {
  const Tensor mask = Tensor::from<double>({1, 1, 1.01}, {3});
  const auto f = [&](const Tensors& in) {
    const Tensor t = in[0];
    return record("one_wrong", detach(square(t)),
                  {{t, [t, mask](const Tensor& dy) { return 2.0 * t * dy * mask; }}});
  };
  const auto result = gradcheck(f, {x});
  CHECK_FALSE(result.ok);
  CHECK(result.report.find("element 2") != std::string::npos);
  CHECK(result.report.find("element 1") == std::string::npos);
}

TEST_CASE("gradcheck: a missing gradient and a NaN are found") {
  CHECK_FALSE(gradcheck([](const Tensors& in) { return square(detach(in[0])); }, {x}));
  const auto nan = [](const Tensors& in) {
    const Tensor t = in[0];
    return record("nan", detach(square(t)), {{t, [](const Tensor& dy) { return log(-abs(dy)); }}});
  };
  CHECK_FALSE(gradcheck(nan, {x}));
}

TEST_CASE("gradcheck_second: finds what the first order cannot") {
  const auto wrong = [](const Tensors& in) { return square_wrong_in_second_order(in[0]); };
  CHECK(gradcheck(wrong, {x}));
  CHECK_FALSE(gradcheck_second(wrong, {x}));
  CHECK(gradcheck_second([](const Tensors& in) { return square(in[0]); }, {x}));
}

TEST_CASE("gradcheck: leaves the caller's tensors as they were") {
  const Tensor p = parameter(x.clone());
  gradcheck([](const Tensors& in) { return square(in[0]); }, {p});
  CHECK_FALSE(p.grad().defined());
  CHECK(p.to_vector<double>() == x.to_vector<double>());
}

TEST_CASE("gradcheck: needs f64, and passes indices through") {
  CHECK_THROWS_AS(gradcheck([](const Tensors& in) { return in[0]; }, {Tensor::zeros({2})}),
                  DTypeError);
  const Tensor ids = Tensor::from<std::int64_t>({2, 0, 2}, {3});
  CHECK(gradcheck([](const Tensors& in) { return square(gather(in[0], in[1])); }, {x, ids}));
}
