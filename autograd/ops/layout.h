// Functions that move elements and do not compute. All differentiate any number of times; gradients
// flow through f32 and f64, elements of any dtype can be moved.
//
//   const Tensor tokens = reshape(x, {x.size(0), -1, x.size(-1)});   // [N, H, W, C] to [N, H W, C]
//   const Tensor half = slice(x, -1, 0, x.size(-1) / 2);             // the first channels
//   const Tensor both = concat({half, half});                        // on the last axis
#pragma once

#include <initializer_list>
#include <vector>

#include "tensor/tensor.h"

namespace ito {

/// The same elements under another shape; one size may be -1 and is then worked out. Free.
/// Throws ShapeError when the number of elements differs.
Tensor reshape(const Tensor& x, const std::vector<std::int64_t>& shape);
Tensor reshape(const Tensor& x, const Shape& shape);
inline Tensor reshape(const Tensor& x, std::initializer_list<std::int64_t> shape) {
  return reshape(x, std::vector<std::int64_t>(shape));
}

/// A number for each sample, v [N], in the shape that broadcasts against a batch x [N, ...]:
/// [N, 1, ..., 1] with as many axes. Free. Throws ShapeError unless v is [N].
Tensor append_dims(const Tensor& v, const Tensor& x);

/// x repeated along its axes of size 1 (and along new leading axes) to `shape`. Copies.
Tensor expand(const Tensor& x, const Shape& shape);

/// Axes in another order: y.size(i) = x.size(order[i]). Copies. Throws ShapeError unless `order` is
/// a permutation of the axes.
Tensor permute(const Tensor& x, const std::vector<int>& order);

/// Tensors one after another along `axis`; the other sizes must be equal.
Tensor concat(const std::vector<Tensor>& parts, int axis = -1);

/// Elements [begin, end) along `axis`; negative bounds count from the end. Free on the first axis.
Tensor slice(const Tensor& x, int axis, std::int64_t begin, std::int64_t end);

/// `before` and `after` elements of `value` around x along `axis`.
Tensor pad(const Tensor& x, int axis, std::int64_t before, std::int64_t after, double value = 0.0);

/// The elements in another dtype. The gradient is converted back.
Tensor cast(const Tensor& x, DType dtype);

}  // namespace ito
