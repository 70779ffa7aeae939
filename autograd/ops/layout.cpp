#include "autograd/ops/layout.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "autograd/engine.h"
#include "tensor/check.h"
#include "tensor/kernels/fill.h"
#include "tensor/kernels/layout.h"
#include "tensor/launch.h"

namespace ito {
namespace {

// Steps of a dense tensor, in elements.
std::vector<std::int64_t> dense_steps(const Shape& shape) {
  std::vector<std::int64_t> steps(static_cast<std::size_t>(shape.rank()), 1);
  for (int d = shape.rank() - 2; d >= 0; --d) {
    steps[static_cast<std::size_t>(d)] = steps[static_cast<std::size_t>(d) + 1] * shape[d + 1];
  }
  return steps;
}

// Copies the elements of `shape` from x to y, each starting `offset` elements in.
struct View {
  std::int64_t offset;
  std::vector<std::int64_t> steps;
};
void copy(const Shape& shape, const Tensor& x, const View& from, Tensor& y, const View& to) {
  kernel::CopyIndex index;
  for (int d = 0; d < shape.rank(); ++d) {
    const auto i = static_cast<std::size_t>(d);
    if (shape[d] == 1) continue;
    const int last = index.rank - 1;
    if (last >= 0 && index.x_step[last] == from.steps[i] * shape[d] &&
        index.y_step[last] == to.steps[i] * shape[d]) {
      index.size[last] *= shape[d];
    } else {
      index.size[index.rank++] = shape[d];
    }
    index.x_step[index.rank - 1] = from.steps[i];
    index.y_step[index.rank - 1] = to.steps[i];
  }
  if (index.rank == 0) {
    index.rank = 1;
    index.size[0] = index.x_step[0] = index.y_step[0] = 1;
  }
  const auto element = static_cast<std::int64_t>(size_of(x.dtype()));
  launch<kernel::Copy>(x.device(), {static_cast<const char*>(x.raw()) + from.offset * element,
                                    static_cast<char*>(y.mutable_raw()) + to.offset * element,
                                    index, shape.numel(), element});
}

}  // namespace

Tensor reshape(const Tensor& x, const Shape& shape) {
  expect_defined("reshape", "x", x);
  if (x.numel() != shape.numel()) {
    fail<ShapeError>("reshape: {} has {} elements; got {}", shape.str(), shape.numel(),
                     describe({{"x", x}}));
  }
  return record("reshape", x.view(shape),
                {{x, [from = x.shape()](const Tensor& dy) { return reshape(dy, from); }}});
}

Tensor reshape(const Tensor& x, const std::vector<std::int64_t>& shape) {
  expect_defined("reshape", "x", x);
  std::vector<std::int64_t> sizes = shape;
  std::int64_t known = 1, unknown = 0;
  for (const std::int64_t size : sizes) {
    if (size == -1) {
      ++unknown;
    } else {
      known *= size;
    }
  }
  if (unknown > 1 || (unknown == 1 && (known == 0 || x.numel() % known != 0))) {
    fail<ShapeError>("reshape: [{}] cannot be worked out; got {}", fmt::join(shape, ", "),
                     describe({{"x", x}}));
  }
  for (std::int64_t& size : sizes) {
    if (size == -1) size = x.numel() / known;
  }
  return reshape(x, Shape(sizes));
}

Tensor append_dims(const Tensor& v, const Tensor& x) {
  expect_defined("append_dims", "v", v);
  expect_defined("append_dims", "x", x);
  if (x.rank() < 1) fail<ShapeError>("append_dims: x must be [N, ...]; got {}", x.str());
  expect_shape("append_dims", "v", v, {x.size(0)});
  std::vector<std::int64_t> shape(static_cast<std::size_t>(x.rank()), 1);
  shape[0] = x.size(0);
  return reshape(v, shape);
}

Tensor expand(const Tensor& x, const Shape& shape) {
  expect_defined("expand", "x", x);
  if (broadcast("expand", x.shape(), shape) != shape) {
    fail<ShapeError>("expand: x must broadcast to {}; got {}", shape.str(), describe({{"x", x}}));
  }
  if (x.shape() == shape) return x;
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  const auto dense = dense_steps(x.shape());
  std::vector<std::int64_t> steps(static_cast<std::size_t>(shape.rank()), 0);
  for (int d = 1; d <= x.rank(); ++d) {
    if (x.size(-d) != 1) steps[steps.size() - static_cast<std::size_t>(d)] = dense.end()[-d];
  }
  copy(shape, x, {0, steps}, y, {0, dense_steps(shape)});
  return record("expand", y, {{x, [](const Tensor& dy) { return dy; }}});
}

Tensor permute(const Tensor& x, const std::vector<int>& order) {
  expect_defined("permute", "x", x);
  std::vector<int> axes, inverse(order.size(), -1);
  std::vector<std::int64_t> sizes, steps;
  const auto dense = dense_steps(x.shape());
  bool valid = static_cast<int>(order.size()) == x.rank();
  for (std::size_t i = 0; valid && i < order.size(); ++i) {
    valid = order[i] >= -x.rank() && order[i] < x.rank();
    if (!valid) break;
    axes.push_back(normalize_axis("permute", order[i], x.rank()));
    int& place = inverse[static_cast<std::size_t>(axes.back())];
    valid = place == -1;
    place = static_cast<int>(i);
    sizes.push_back(x.size(axes.back()));
    steps.push_back(dense[static_cast<std::size_t>(axes.back())]);
  }
  if (!valid) {
    fail<ShapeError>("permute: order must name each axis once; got [{}], {}",
                     fmt::join(order, ", "), describe({{"x", x}}));
  }
  const Shape shape(sizes);
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  copy(shape, x, {0, steps}, y, {0, dense_steps(shape)});
  return record("permute", y, {{x, [inverse](const Tensor& dy) { return permute(dy, inverse); }}});
}

Tensor concat(const std::vector<Tensor>& parts, int axis) {
  if (parts.empty()) fail<ValueError>("concat: needs at least one tensor; got none");
  for (const Tensor& part : parts) expect_defined("concat", "part", part);
  const Tensor& first = parts[0];
  axis = normalize_axis("concat", axis, first.rank());
  std::int64_t total = 0;
  for (const Tensor& part : parts) {
    if (part.rank() != first.rank() || part.shape().with(axis, 0) != first.shape().with(axis, 0)) {
      fail<ShapeError>("concat: sizes other than axis {} must be equal; got {}", axis,
                       describe({{"first", first}, {"part", part}}));
    }
    if (part.dtype() != first.dtype()) {
      fail<DTypeError>("concat: parts must have one dtype; got {}",
                       describe({{"first", first}, {"part", part}}));
    }
    if (part.device() != first.device()) {
      fail<DeviceError>("concat: parts must be on one device; got {}",
                        describe({{"first", first}, {"part", part}}));
    }
    total += part.size(axis);
  }
  Tensor y = Tensor::empty(first.shape().with(axis, total), first.dtype(), first.device());
  const auto steps = dense_steps(y.shape());
  std::vector<InputVjp> rules;
  std::int64_t begin = 0;
  for (const Tensor& part : parts) {
    copy(part.shape(), part, {0, dense_steps(part.shape())}, y,
         {begin * steps[static_cast<std::size_t>(axis)], steps});
    const std::int64_t end = begin + part.size(axis);
    rules.push_back({part, [=](const Tensor& dy) { return slice(dy, axis, begin, end); }});
    begin = end;
  }
  return record("concat", y, std::move(rules));
}

Tensor slice(const Tensor& x, int axis, std::int64_t begin, std::int64_t end) {
  expect_defined("slice", "x", x);
  axis = normalize_axis("slice", axis, x.rank());
  const std::int64_t size = x.size(axis);
  const std::int64_t b = begin < 0 ? begin + size : begin, e = end < 0 ? end + size : end;
  if (b < 0 || b > e || e > size) {
    fail<ShapeError>("slice: [{}, {}) must lie within axis {}; got {}", begin, end, axis,
                     describe({{"x", x}}));
  }
  const Shape shape = x.shape().with(axis, e - b);
  const auto steps = dense_steps(x.shape());
  const std::int64_t offset = b * steps[static_cast<std::size_t>(axis)];
  Tensor y;
  if (axis == 0) {
    y = x.view(shape, offset);
  } else {
    y = Tensor::empty(shape, x.dtype(), x.device());
    copy(shape, x, {offset, steps}, y, {0, dense_steps(shape)});
  }
  return record("slice", y, {{x, [=](const Tensor& dy) { return pad(dy, axis, b, size - e); }}});
}

Tensor pad(const Tensor& x, int axis, std::int64_t before, std::int64_t after, double value) {
  expect_defined("pad", "x", x);
  axis = normalize_axis("pad", axis, x.rank());
  if (before < 0 || after < 0) {
    fail<ValueError>("pad: before and after must be >= 0; got {} and {}", before, after);
  }
  const std::int64_t size = x.size(axis);
  std::int64_t padded = 0;
  if (__builtin_add_overflow(before, after, &padded) ||
      __builtin_add_overflow(padded, size, &padded)) {
    fail<ShapeError>("pad: the padded size exceeds 2^63 - 1; got {} and {}", before, after);
  }
  const Shape shape = x.shape().with(axis, padded);
  Tensor y = Tensor::full(shape, value, x.dtype(), x.device());
  const auto steps = dense_steps(shape);
  copy(x.shape(), x, {0, dense_steps(x.shape())}, y,
       {before * steps[static_cast<std::size_t>(axis)], steps});
  return record("pad", y,
                {{x, [=](const Tensor& dy) { return slice(dy, axis, before, before + size); }}});
}

Tensor cast(const Tensor& x, DType dtype) {
  expect_defined("cast", "x", x);
  if (x.dtype() == dtype) return x;
  Tensor y = Tensor::empty(x.shape(), dtype, x.device());
  launch<kernel::Cast>(x.device(), {x.raw(), y.mutable_raw(), x.numel(), x.dtype(), dtype});
  if (!is_floating(dtype)) return y;
  return record("cast", y, {{x, [from = x.dtype()](const Tensor& dy) { return cast(dy, from); }}});
}

}  // namespace ito
