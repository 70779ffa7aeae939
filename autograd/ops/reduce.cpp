#include "autograd/ops/reduce.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "tensor/check.h"
#include "tensor/kernels/reduce.h"
#include "tensor/launch.h"

namespace ito {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

// The axes as sorted numbers in [0, rank); all when none are given.
std::vector<int> normalize_axes(const char* op, std::vector<int> axes, int rank) {
  if (axes.empty()) {
    for (int i = 0; i < rank; ++i) axes.push_back(i);
  }
  for (int& axis : axes) axis = normalize_axis(op, axis, rank);
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) {
    fail<ShapeError>("{}: each axis may be given once; got [{}]", op, fmt::join(axes, ", "));
  }
  return axes;
}

Shape with_ones(Shape shape, const std::vector<int>& axes) {
  for (const int axis : axes) shape = shape.with(axis, 1);
  return shape;
}

Shape without(Shape shape, const std::vector<int>& axes) {
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) shape = shape.removed(*axis);
  return shape;
}

// Applies Kernel to each run of neighbouring axes, from the last to the first.
template <class Kernel>
Tensor reduce_runs(const Tensor& x, const std::vector<int>& axes) {
  Tensor y = x;
  for (std::size_t last = axes.size(); last > 0;) {
    std::size_t first = last - 1;
    while (first > 0 && axes[first - 1] == axes[first] - 1) --first;
    std::int64_t outer = 1, reduced = 1, inner = 1;
    Shape shape = y.shape();
    for (int d = 0; d < y.rank(); ++d) {
      (d < axes[first] ? outer : d <= axes[last - 1] ? reduced : inner) *= shape[d];
    }
    for (std::size_t i = first; i < last; ++i) shape = shape.with(axes[i], 1);
    Tensor next = Tensor::empty(shape, y.dtype(), y.device());
    launch<Kernel>(y.device(), {y.raw(), next.mutable_raw(), outer, reduced, inner, y.dtype()});
    y = next;
    last = first;
  }
  return y;
}

Shape result_shape(const Shape& kept, const std::vector<int>& axes, bool keep_dims) {
  return keep_dims ? kept : without(kept, axes);
}

std::int64_t elements_along(const Shape& shape, const std::vector<int>& axes) {
  std::int64_t n = 1;
  for (const int axis : axes) n *= shape[axis];
  return n;
}

void expect_not_empty(const char* op, const Tensor& x, const std::vector<int>& axes) {
  if (elements_along(x.shape(), axes) == 0) {
    fail<ShapeError>("{}: needs at least one element along axes [{}]; got {}", op,
                     fmt::join(axes, ", "), describe({{"x", x}}));
  }
}

}  // namespace

Tensor sum(const Tensor& x, std::vector<int> axes, bool keep_dims) {
  expect_floating("sum", "x", x);
  axes = normalize_axes("sum", std::move(axes), x.rank());
  const Shape kept = with_ones(x.shape(), axes);
  const Tensor total = reduce_runs<kernel::Sum>(x, axes);
  return record("sum", total.view(result_shape(kept, axes, keep_dims)),
                {{x, [kept, shape = x.shape()](const Tensor& dy) {
                    return expand(reshape(dy, kept), shape);
                  }}});
}

Tensor mean(const Tensor& x, std::vector<int> axes, bool keep_dims) {
  expect_floating("mean", "x", x);
  axes = normalize_axes("mean", std::move(axes), x.rank());
  expect_not_empty("mean", x, axes);
  const auto n = static_cast<double>(elements_along(x.shape(), axes));
  return sum(x, axes, keep_dims) / n;
}

Tensor max(const Tensor& x, std::vector<int> axes, bool keep_dims) {
  expect_floating("max", "x", x);
  axes = normalize_axes("max", std::move(axes), x.rank());
  expect_not_empty("max", x, axes);
  const Shape kept = with_ones(x.shape(), axes);
  const Tensor highest = reduce_runs<kernel::Max>(x, axes);
  return record("max", highest.view(result_shape(kept, axes, keep_dims)),
                {{x, [x, highest, kept, axes](const Tensor& dy) {
                    const Tensor chosen = equal(x, highest);
                    return reshape(dy, kept) * (chosen / sum(chosen, axes, /*keep_dims=*/true));
                  }}});
}

Tensor mean_flat(const Tensor& x) {
  expect_defined("mean_flat", "x", x);
  if (x.rank() < 1) fail<ShapeError>("mean_flat: x must be [N, ...]; got {}", x.str());
  std::vector<int> inner(static_cast<std::size_t>(x.rank() - 1));
  std::iota(inner.begin(), inner.end(), 1);
  return inner.empty() ? x : mean(x, inner);
}

Tensor logsumexp(const Tensor& x, std::vector<int> axes, bool keep_dims) {
  expect_floating("logsumexp", "x", x);
  axes = normalize_axes("logsumexp", std::move(axes), x.rank());
  expect_not_empty("logsumexp", x, axes);
  const Shape kept = with_ones(x.shape(), axes);
  Tensor y;
  {
    const NoGrad off;
    const Tensor highest = reduce_runs<kernel::Max>(x, axes);
    // An infinite maximum would make inf - inf; 0 does as well there.
    const Tensor shift =
        where(equal(abs(highest), Tensor::scalar(inf, x.dtype(), x.device())), 0.0, highest);
    y = reshape(log(sum(exp(x - shift), axes, /*keep_dims=*/true)) + shift,
                result_shape(kept, axes, keep_dims));
  }
  return record("logsumexp", y, {{x, [x, kept](const Tensor& v, const Tensor& dy) {
                                    return reshape(dy, kept) * exp(x - reshape(v, kept));
                                  }}});
}

}  // namespace ito
