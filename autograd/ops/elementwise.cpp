#include "autograd/ops/elementwise.h"

#include <numbers>

#include "autograd/engine.h"
#include "tensor/check.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/launch.h"

namespace ito {
namespace {

// ---- from tensors to kernels --------------------------------------------------------------------

template <class F>
Tensor unary(const Tensor& x, F f = {}) {
  expect_floating(F::name, "x", x);
  Tensor y = empty_like(x);
  launch<kernel::Unary<F>>(x.device(), {x.raw(), y.mutable_raw(), x.numel(), x.dtype(), f});
  return y;
}

// The broadcast index space of tensors of `shapes` under their common shape `out`.
kernel::Broadcast broadcast_index(const Shape& out, std::initializer_list<Shape> shapes) {
  kernel::Broadcast index;
  std::int64_t dense[kernel::Broadcast::max_inputs];
  std::fill(std::begin(dense), std::end(dense), 1);
  // From the last axis outwards: an axis is merged into its right neighbour when every input steps
  // through both as through one.
  std::vector<std::int64_t> sizes;
  std::vector<std::array<std::int64_t, kernel::Broadcast::max_inputs>> steps;
  for (int d = 1; d <= out.rank(); ++d) {
    if (out[-d] == 1) continue;
    std::array<std::int64_t, kernel::Broadcast::max_inputs> step{};
    int i = 0;
    for (const Shape& s : shapes) {
      const std::int64_t size = d <= s.rank() ? s[-d] : 1;
      step[static_cast<std::size_t>(i)] = size == 1 ? 0 : dense[i];
      dense[i++] *= size;
    }
    bool merge = !sizes.empty();
    for (std::size_t k = 0; merge && k < shapes.size(); ++k) {
      merge = step[k] == steps.back()[k] * sizes.back();
    }
    if (merge) {
      sizes.back() *= out[-d];
    } else {
      sizes.push_back(out[-d]);
      steps.push_back(step);
    }
  }
  if (sizes.empty()) {
    sizes.push_back(1);
    steps.push_back({});
  }
  index.rank = static_cast<int>(sizes.size());
  for (int d = 0; d < index.rank; ++d) {
    const auto from = sizes.size() - 1 - static_cast<std::size_t>(d);
    index.size[d] = sizes[from];
    for (int i = 0; i < kernel::Broadcast::max_inputs; ++i) {
      index.step[i][d] = steps[from][static_cast<std::size_t>(i)];
    }
  }
  return index;
}

template <class F>
Tensor binary(const Tensor& a, const Tensor& b) {
  expect_defined(F::name, "a", a);
  expect_defined(F::name, "b", b);
  expect_same_kind(F::name, {{"a", a}, {"b", b}});
  const Shape shape = broadcast(F::name, a.shape(), b.shape());
  Tensor y = Tensor::empty(shape, a.dtype(), a.device());
  launch<kernel::Binary<F>>(a.device(),
                            {a.raw(), b.raw(), y.mutable_raw(),
                             broadcast_index(shape, {a.shape(), b.shape()}), y.numel(), a.dtype()});
  return y;
}

// A number in the dtype and on the device of x.
Tensor like(const char* op, const Tensor& x, double value) {
  expect_defined(op, "x", x);
  return Tensor::scalar(value, x.dtype(), x.device());
}

}  // namespace

// ---- two tensors --------------------------------------------------------------------------------

Tensor add(const Tensor& a, const Tensor& b) {
  return record(
      "add", binary<kernel::Add>(a, b),
      {{a, [](const Tensor& dy) { return dy; }}, {b, [](const Tensor& dy) { return dy; }}});
}

Tensor sub(const Tensor& a, const Tensor& b) {
  return record(
      "sub", binary<kernel::Sub>(a, b),
      {{a, [](const Tensor& dy) { return dy; }}, {b, [](const Tensor& dy) { return -dy; }}});
}

Tensor mul(const Tensor& a, const Tensor& b) {
  return record("mul", binary<kernel::Mul>(a, b),
                {{a, [b](const Tensor& dy) { return dy * b; }},
                 {b, [a](const Tensor& dy) { return dy * a; }}});
}

Tensor div(const Tensor& a, const Tensor& b) {
  return record("div", binary<kernel::Div>(a, b),
                {{a, [b](const Tensor& dy) { return dy / b; }},
                 {b, [b](const Tensor& y, const Tensor& dy) { return -dy * y / b; }}});
}

Tensor pow(const Tensor& a, const Tensor& b) {
  return record("pow", binary<kernel::Pow>(a, b),
                {{a, [a, b](const Tensor& dy) { return dy * b * pow(a, b - 1.0); }},
                 {b, [a](const Tensor& y, const Tensor& dy) { return dy * y * log(a); }}});
}

Tensor pow(const Tensor& x, double p) {
  return record("pow", unary<kernel::PowScalar>(x, {p}),
                {{x, [x, p](const Tensor& dy) { return dy * (p * pow(x, p - 1.0)); }}});
}

namespace {
// The share of the gradient that `a` gets: 1 where it was chosen, 1/2 at a tie.
Tensor share(const Tensor& loser_or_equal, const Tensor& winner) {
  return less(loser_or_equal, winner) + 0.5 * equal(loser_or_equal, winner);
}
}  // namespace

Tensor maximum(const Tensor& a, const Tensor& b) {
  return record("maximum", binary<kernel::Maximum>(a, b),
                {{a, [a, b](const Tensor& dy) { return dy * share(b, a); }},
                 {b, [a, b](const Tensor& dy) { return dy * share(a, b); }}});
}

Tensor minimum(const Tensor& a, const Tensor& b) {
  return record("minimum", binary<kernel::Minimum>(a, b),
                {{a, [a, b](const Tensor& dy) { return dy * share(a, b); }},
                 {b, [a, b](const Tensor& dy) { return dy * share(b, a); }}});
}

// ---- one tensor ---------------------------------------------------------------------------------

Tensor affine(const Tensor& x, double scale, double shift) {
  return record("affine", unary<kernel::Affine>(x, {scale, shift}),
                {{x, [scale](const Tensor& dy) { return affine(dy, scale, 0.0); }}});
}

Tensor neg(const Tensor& x) {
  return record("neg", unary<kernel::Neg>(x), {{x, [](const Tensor& dy) { return -dy; }}});
}

Tensor abs(const Tensor& x) {
  return record("abs", unary<kernel::Abs>(x),
                {{x, [x](const Tensor& dy) { return dy * unary<kernel::Sign>(x); }}});
}

Tensor exp(const Tensor& x) {
  return record("exp", unary<kernel::Exp>(x),
                {{x, [](const Tensor& y, const Tensor& dy) { return dy * y; }}});
}

Tensor log(const Tensor& x) {
  return record("log", unary<kernel::Log>(x), {{x, [x](const Tensor& dy) { return dy / x; }}});
}

Tensor sqrt(const Tensor& x) {
  return record("sqrt", unary<kernel::Sqrt>(x),
                {{x, [](const Tensor& y, const Tensor& dy) { return 0.5 * dy / y; }}});
}

Tensor rsqrt(const Tensor& x) {
  return record("rsqrt", unary<kernel::Rsqrt>(x),
                {{x, [](const Tensor& y, const Tensor& dy) { return -0.5 * dy * (y * y * y); }}});
}

Tensor square(const Tensor& x) {
  return record("square", binary<kernel::Mul>(x, x),
                {{x, [x](const Tensor& dy) { return 2.0 * (dy * x); }}});
}

Tensor sin(const Tensor& x) {
  return record("sin", unary<kernel::Sin>(x), {{x, [x](const Tensor& dy) { return dy * cos(x); }}});
}

Tensor cos(const Tensor& x) {
  return record("cos", unary<kernel::Cos>(x),
                {{x, [x](const Tensor& dy) { return -dy * sin(x); }}});
}

Tensor tanh(const Tensor& x) {
  return record("tanh", unary<kernel::Tanh>(x),
                {{x, [](const Tensor& y, const Tensor& dy) { return dy * (1.0 - square(y)); }}});
}

Tensor sigmoid(const Tensor& x) {
  return record("sigmoid", unary<kernel::Sigmoid>(x),
                // 1 - y would have no digits left where y is near 1: sigmoid(-x) has all.
                {{x, [x](const Tensor& dy) { return dy * (sigmoid(x) * sigmoid(-x)); }}});
}

Tensor silu(const Tensor& x) {
  return record_fused(
      "silu", unary<kernel::Silu>(x), {x},
      [](const std::vector<Tensor>& in) { return in[0] * sigmoid(in[0]); },
      [x](const Tensor& dy, const std::vector<bool>&) {
        return std::vector<Tensor>{binary<kernel::SiluGrad>(x, dy)};
      });
}

Tensor softplus(const Tensor& x) {
  return record("softplus", unary<kernel::Softplus>(x),
                {{x, [x](const Tensor& dy) { return dy * sigmoid(x); }}});
}

Tensor relu(const Tensor& x) {
  return record("relu", binary<kernel::Maximum>(x, like("relu", x, 0.0)),
                {{x, [x](const Tensor& dy) { return dy * (x > 0.0); }}});
}

Tensor erf(const Tensor& x) {
  return record("erf", unary<kernel::Erf>(x),
                {{x, [x](const Tensor& dy) {
                    return dy * (2.0 * std::numbers::inv_sqrtpi * exp(-square(x)));
                  }}});
}

Tensor gelu(const Tensor& x) { return 0.5 * x * (1.0 + erf(x * (1.0 / std::numbers::sqrt2))); }

Tensor clamp(const Tensor& x, double low, double high) {
  if (!(low <= high)) fail<ValueError>("clamp: low must be <= high; got [{}, {}]", low, high);
  return record("clamp", unary<kernel::Clamp>(x, {low, high}),
                {{x, [=](const Tensor& dy) {
                    return dy * unary<kernel::Within>(x, {low, high});
                  }}});
}

// ---- selection and comparison -------------------------------------------------------------------

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  for (const auto& [name, t] : {Named{"condition", condition}, Named{"a", a}, Named{"b", b}}) {
    expect_defined("where", name, t);
  }
  expect_same_kind("where", {{"condition", condition}, {"a", a}, {"b", b}});
  const Shape shape =
      broadcast("where", condition.shape(), broadcast("where", a.shape(), b.shape()));
  Tensor y = Tensor::empty(shape, a.dtype(), a.device());
  launch<kernel::Where>(
      a.device(),
      {condition.raw(), a.raw(), b.raw(), y.mutable_raw(),
       broadcast_index(shape, {condition.shape(), a.shape(), b.shape()}), y.numel(), a.dtype()});
  return record("where", y,
                {{a, [condition](const Tensor& dy) { return where(condition, dy, 0.0); }},
                 {b, [condition](const Tensor& dy) { return where(condition, 0.0, dy); }}});
}

Tensor where(const Tensor& condition, const Tensor& a, double b) {
  return where(condition, a, like("where", a, b));
}
Tensor where(const Tensor& condition, double a, const Tensor& b) {
  return where(condition, like("where", b, a), b);
}

Tensor equal(const Tensor& a, const Tensor& b) { return binary<kernel::Equal>(a, b); }
Tensor less(const Tensor& a, const Tensor& b) { return binary<kernel::Less>(a, b); }
Tensor less_equal(const Tensor& a, const Tensor& b) { return binary<kernel::LessEqual>(a, b); }

// ---- scalars ------------------------------------------------------------------------------------

Tensor operator/(const Tensor& x, double s) {
  return record("div", binary<kernel::Div>(x, like("div", x, s)),
                {{x, [s](const Tensor& dy) { return dy / s; }}});
}
Tensor operator/(double s, const Tensor& x) { return div(like("div", x, s), x); }
Tensor operator<(const Tensor& a, double b) { return less(a, like("less", a, b)); }
Tensor operator>(const Tensor& a, double b) { return less(like("less", a, b), a); }
Tensor operator<=(const Tensor& a, double b) { return less_equal(a, like("less_equal", a, b)); }
Tensor operator>=(const Tensor& a, double b) { return less_equal(like("less_equal", a, b), a); }

}  // namespace ito
