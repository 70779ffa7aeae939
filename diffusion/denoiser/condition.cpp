#include "diffusion/denoiser/condition.h"

#include <utility>

#include "autograd/ops/layout.h"
#include "tensor/check.h"

namespace ito {

Condition concat(const Condition& a, const Condition& b) {
  if (a.labels.defined() != b.labels.defined()) {
    fail<ValueError>("concat: both conditions must have labels or neither");
  }
  return {a.labels.defined() ? concat({a.labels, b.labels}, 0) : Tensor{}};
}

void expect_condition(const char* op, const Condition& condition, const Tensor& x) {
  if (!condition.labels.defined()) return;
  expect_dtype(op, "labels", condition.labels, DType::i64);
  expect_shape(op, "labels", condition.labels, {x.size(0)});
}

std::function<Tensor(const Tensor& x, const Tensor& time)> conditional(ConditionalNetwork network,
                                                                       Condition condition) {
  return [network = std::move(network), condition = std::move(condition)](const Tensor& x,
                                                                          const Tensor& time) {
    expect_condition("conditional", condition, x);
    return network(x, time, condition);
  };
}

}  // namespace ito
