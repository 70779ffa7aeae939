#include "autograd/ops/reduce.h"

#include <algorithm>

#include "autograd/engine.h"
#include "autograd/ops/layout.h"
#include "tensor/check.h"
#include "tensor/kernels/reduce.h"
#include "tensor/launch.h"

namespace ito {
namespace {

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

}  // namespace

Tensor sum(const Tensor& x, std::vector<int> axes, bool keep_dims) {
  expect_floating("sum", "x", x);
  axes = normalize_axes("sum", std::move(axes), x.rank());
  const Shape kept = with_ones(x.shape(), axes);
  const Tensor total = reduce_runs<kernel::Sum>(x, axes);
  return record("sum", total.alias(keep_dims ? kept : without(kept, axes)),
                {{x, [kept, shape = x.shape()](const Tensor& dy) {
                    return expand(reshape(dy, kept), shape);
                  }}});
}

}  // namespace ito
