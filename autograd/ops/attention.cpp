#include "autograd/ops/attention.h"

#include <cmath>
#include <limits>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/softmax.h"
#include "tensor/check.h"
#include "tensor/kernels/attention.h"
#include "tensor/launch.h"

namespace ito {
namespace {

constexpr const char* op = "attention";

// [N, L, heads d] to [N, heads, L, d]
Tensor split_heads(const Tensor& x, int heads) {
  return permute(reshape(x, Shape{x.size(0), x.size(1), heads, x.size(2) / heads}), {0, 2, 1, 3});
}

// 1 for each row of scores that has a key left, 0 for one that the mask hides entirely.
Tensor visible_rows(const Tensor& mask) {
  const Tensor shown = mask > -std::numeric_limits<double>::infinity();
  const std::vector<std::int64_t> keys{shown.size(-1), 1};
  Shape shape = shown.shape().with(-1, 1);
  const Tensor ones = Tensor::full(Shape(keys), 1.0, mask.dtype(), mask.device());
  const Tensor count = matmul(reshape(shown, std::vector<std::int64_t>{-1, keys[0]}), ones);
  return reshape(count > 0.0, shape);
}

// The definition, in plain ops.
Tensor reference(const Tensor& q, const Tensor& k, const Tensor& v, int heads, const Tensor& mask) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(2) / heads));
  Tensor scores = scale * matmul(split_heads(q, heads), split_heads(k, heads), false, true);
  if (!mask.defined()) {
    const Tensor y = matmul(softmax(scores), split_heads(v, heads));
    return reshape(permute(y, {0, 2, 1, 3}), q.shape());
  }
  // [N, L, S] to [N, 1, L, S]: the same mask for every head. Rows without a key get scores of 0 in
  // place of -inf, so that their softmax is a number, and then weights of 0.
  const Tensor m = mask.rank() == 3 ? reshape(mask, mask.shape().inserted(1, 1)) : mask;
  const Tensor visible = visible_rows(m);
  scores = where(visible, scores + m, 0.0);
  const Tensor y = matmul(visible * softmax(scores), split_heads(v, heads));
  return reshape(permute(y, {0, 2, 1, 3}), q.shape());
}

kernel::AttentionShape check(const Tensor& q, const Tensor& k, const Tensor& v, int heads,
                             const Tensor& mask) {
  expect_rank(op, "q", q, 3);
  expect_rank(op, "k", k, 3);
  expect_defined(op, "v", v);
  expect_same_kind(op, {{"q", q}, {"k", k}, {"v", v}, {"mask", mask}});
  const std::int64_t n = q.size(0), l = q.size(1), s = k.size(1), c = q.size(2);
  expect_shape(op, "k", k, {n, s, c});
  expect_shape(op, "v", v, {n, s, c});
  if (heads < 1 || c % heads != 0) {
    fail<ShapeError>("{}: heads must divide channels; got {}, heads = {}", op, describe({{"q", q}}),
                     heads);
  }
  const bool per_sample = mask.defined() && mask.rank() == 3;
  if (per_sample) {
    expect_shape(op, "mask", mask, {n, l, s});
  } else if (mask.defined()) {
    expect_shape(op, "mask", mask, {l, s});
  }
  const std::int64_t d = c / heads;
  return {n, l, s, heads, d, 1.0 / std::sqrt(static_cast<double>(d)), per_sample};
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int heads, const Tensor& mask) {
  const auto shape = check(q, k, v, heads, mask);
  const void* mask_data = mask.defined() ? mask.raw() : nullptr;
  Tensor y = empty_like(q);
  Tensor lse = Tensor::empty({shape.n, shape.heads, shape.l}, statistics_of(q.dtype()), q.device());
  launch<kernel::Attention>(q.device(), {q.raw(), k.raw(), v.raw(), mask_data, y.mutable_raw(),
                                         lse.mutable_raw(), shape, q.dtype()});
  return record_fused(
      op, y, {q, k, v},
      [heads, mask](const std::vector<Tensor>& in) {
        return reference(in[0], in[1], in[2], heads, mask);
      },
      [=, result = y.view()](const Tensor& dy, const std::vector<bool>&) {
        Tensor dq = empty_like(q);
        Tensor dk = empty_like(k);
        Tensor dv = empty_like(v);
        launch<kernel::AttentionGrad>(
            q.device(), {q.raw(), k.raw(), v.raw(), mask.defined() ? mask.raw() : nullptr,
                         result.raw(), lse.raw(), dy.raw(), dq.mutable_raw(), dk.mutable_raw(),
                         dv.mutable_raw(), shape, q.dtype()});
        return std::vector<Tensor>{dq, dk, dv};
      });
}

}  // namespace ito
