#include "autograd/ops/linalg.h"

#include "autograd/engine.h"
#include "autograd/ops/layout.h"
#include "autograd/packed_weights.h"
#include "tensor/check.h"
#include "tensor/kernels/matmul.h"
#include "tensor/launch.h"

namespace ito {
namespace {

// The sizes of a product, checked.
struct Product {
  Shape batch;  // leading axes of the result
  std::int64_t m, n, k;
  Shape result() const { return batch.inserted(batch.rank(), m).inserted(batch.rank() + 1, n); }
};

Shape leading(const Shape& shape) { return shape.removed(-1).removed(-1); }

Product check_matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  expect_defined("matmul", "a", a);
  expect_defined("matmul", "b", b);
  expect_same_kind("matmul", {{"a", a}, {"b", b}});
  const auto text = [&] {
    return fmt::format("{}, transpose_a = {}, transpose_b = {}", describe({{"a", a}, {"b", b}}),
                       transpose_a, transpose_b);
  };
  if (a.rank() < 2 || b.rank() < 2) {
    fail<ShapeError>("matmul: a and b must have at least two axes; got {}", text());
  }
  const Shape batch_a = leading(a.shape()), batch_b = leading(b.shape());
  if (batch_a != batch_b && a.rank() != 2 && b.rank() != 2) {
    fail<ShapeError>("matmul: leading axes must be equal, or one operand a matrix; got {}", text());
  }
  const std::int64_t k = a.size(transpose_a ? -2 : -1);
  if (k != b.size(transpose_b ? -1 : -2)) {
    fail<ShapeError>("matmul: inner sizes must be equal; got {}", text());
  }
  return {a.rank() == 2 ? batch_b : batch_a, a.size(transpose_a ? -1 : -2),
          b.size(transpose_b ? -2 : -1), k};
}

Tensor product(const Tensor& a, const Tensor& b, const Tensor& bias, const Product& p,
               bool transpose_a, bool transpose_b) {
  Tensor y = Tensor::empty(p.result(), a.dtype(), a.device());
  launch<kernel::Matmul>(a.device(),
                         {a.raw(), b.raw(), bias.defined() ? bias.raw() : nullptr, y.mutable_raw(),
                          p.batch.numel(), p.m, p.n, p.k, a.rank() == 2 ? 0 : p.m * p.k,
                          b.rank() == 2 ? 0 : p.k * p.n, transpose_a, transpose_b, a.dtype(),
                          b.rank() == 2 ? packed_weights_of(b, p.batch.numel() * p.m) : nullptr});
  return y;
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  const Product p = check_matmul(a, b, transpose_a, transpose_b);
  if (b.rank() == 2 && a.rank() > 2 && !transpose_a) {
    // One tall product. Its gradient for b is one product too, where batches would make many to
    // sum.
    const Tensor rows = reshape(a, Shape{p.batch.numel() * p.m, p.k});
    return reshape(matmul(rows, b, false, transpose_b), p.result());
  }
  // y = A B with A = op(a), B = op(b): dA = dy B^T, dB = A^T dy, each transposed back where needed.
  return record("matmul", product(a, b, {}, p, transpose_a, transpose_b),
                {{a,
                  [=](const Tensor& dy) {
                    return transpose_a ? matmul(b, dy, transpose_b, true)
                                       : matmul(dy, b, false, !transpose_b);
                  }},
                 {b, [=](const Tensor& dy) {
                    return transpose_b ? matmul(dy, a, true, transpose_a)
                                       : matmul(a, dy, !transpose_a, false);
                  }}});
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  expect_defined("linear", "x", x);
  expect_rank("linear", "weight", weight, 2);
  expect_same_kind("linear", {{"x", x}, {"weight", weight}, {"bias", bias}});
  const std::int64_t in = weight.size(1), out = weight.size(0);
  if (x.rank() < 1 || x.size(-1) != in) {
    fail<ShapeError>("linear: the last axis of x must be weight's {}; got {}", in,
                     describe({{"x", x}, {"weight", weight}}));
  }
  if (bias.defined()) expect_shape("linear", "bias", bias, {out});
  const std::int64_t rows_count = x.shape().removed(-1).numel();
  const Tensor rows = reshape(x, Shape{rows_count, in});
  const Product p{Shape{}, rows_count, out, in};
  const Tensor y = record("linear", product(rows, weight, bias, p, false, true),
                          {{rows, [weight](const Tensor& dy) { return matmul(dy, weight); }},
                           {weight, [rows](const Tensor& dy) { return matmul(dy, rows, true); }},
                           {bias, [](const Tensor& dy) { return dy; }}});
  return reshape(y, x.shape().with(-1, out));
}

}  // namespace ito
