#include "autograd/ops/loss.h"

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"
#include "tensor/kernels/loss.h"
#include "tensor/launch.h"

namespace ito {

Tensor mse(const Tensor& a, const Tensor& b) {
  expect_defined("mse", "a", a);
  expect_defined("mse", "b", b);
  expect_same_kind("mse", {{"a", a}, {"b", b}});
  expect_shape("mse", "b", b, a.shape());
  if (a.numel() == 0) {
    fail<ShapeError>("mse: needs at least one element; got {}", describe({{"a", a}, {"b", b}}));
  }
  Tensor y = Tensor::empty({}, a.dtype(), a.device());
  launch<kernel::Mse>(a.device(), {a.raw(), b.raw(), y.mutable_raw(), a.numel(), a.dtype()});
  return record_fused(
      "mse", y, {a, b}, [](const std::vector<Tensor>& in) { return mean(square(in[0] - in[1])); },
      [a, b](const Tensor& dy, const std::vector<bool>& needed) {
        Tensor da = empty_like(a);
        launch<kernel::MseGrad>(
            a.device(), {a.raw(), b.raw(), dy.raw(), da.mutable_raw(), a.numel(), a.dtype()});
        return std::vector<Tensor>{da, needed[1] ? -da : Tensor()};
      });
}

Tensor cross_entropy(const Tensor& logits, const Tensor& labels) {
  expect_floating("cross_entropy", "logits", logits);
  expect_rank("cross_entropy", "logits", logits, 2);
  expect_dtype("cross_entropy", "labels", labels, DType::i64);
  expect_shape("cross_entropy", "labels", labels, {logits.size(0)});
  if (logits.numel() == 0) {
    fail<ShapeError>("cross_entropy: needs at least one row and one class; got {}",
                     describe({{"logits", logits}}));
  }
  const Tensor chosen = one_hot(labels, logits.size(1), logits.dtype());
  // Selected, not multiplied: a logit of -inf at another class must not make 0 * inf.
  const Tensor own = sum(where(chosen, logits, 0.0), {1});
  return mean(logsumexp(logits, {1}) - own);
}

}  // namespace ito
