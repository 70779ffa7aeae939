// The example of docs/adding_an_op.md, checked like every row of the op table. Built twice: with
// the composite op, and with the fused one.
#include <doctest/doctest.h>

#include "autograd/engine.h"
#include "autograd/ops/reduce.h"
#include "autograd/ops/rms_norm.h"
#include "tests/ops/op_case.h"
#include "tests/ops/op_checks.h"

namespace ito::optable {
void add_rms_norm_cases(Rows& rows);
}

using namespace ito;
using namespace ito::optable;

TEST_CASE("adding_an_op: the example passes every check of the op table") {
  Rows rows;
  add_rms_norm_cases(rows);
  for (const auto check :
       {check_forward, check_gradient, check_second_gradient, check_precision, check_threads,
        check_devices, check_bf16, check_misaligned, check_repeat, check_errors}) {
    for (const std::string& finding : check(rows.at(0))) FAIL_CHECK(finding);
  }
}

TEST_CASE("adding_an_op: the fused op is one node of the graph") {
  const std::int64_t before = live_nodes();
  const Tensor x = parameter(Tensor::full({2, 4}, 1.0)), w = parameter(Tensor::full({4}, 1.0));
  const Tensor y = rms_norm(x, w);
  CHECK(y.shape() == x.shape());
  const std::int64_t nodes = live_nodes() - before - 2;
  CHECK((ITO_EXAMPLE_FUSED ? nodes == 1 : nodes > 1));
}
