#include "autograd/ops/layout.h"

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "tensor/check.h"

namespace ito {

Tensor reshape(const Tensor& x, const Shape& shape) {
  expect_defined("reshape", "x", x);
  if (x.numel() != shape.numel()) {
    fail<ShapeError>("reshape: {} has {} elements; got {}", shape.str(), shape.numel(),
                     describe({{"x", x}}));
  }
  return record("reshape", x.alias(shape),
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

Tensor expand(const Tensor& x, const Shape& shape) {
  expect_floating("expand", "x", x);
  if (broadcast("expand", x.shape(), shape) != shape) {
    fail<ShapeError>("expand: x must broadcast to {}; got {}", shape.str(), describe({{"x", x}}));
  }
  return x.shape() == shape ? x : x + Tensor::zeros(shape, x.dtype(), x.device());
}

}  // namespace ito
