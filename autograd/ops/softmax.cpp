#include "autograd/ops/softmax.h"

#include <numeric>
#include <utility>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"
#include "tensor/kernels/softmax.h"
#include "tensor/launch.h"

namespace ito {
namespace {

// The same function in plain ops. The shift by the maximum cancels, so it needs no gradient.
Tensor reference(const Tensor& x) {
  if (x.numel() == 0) return x;  // nothing has no maximum
  const Tensor e = exp(x - detach(max(x, {-1}, /*keep_dims=*/true)));
  return e / sum(e, {-1}, /*keep_dims=*/true);
}

Tensor last_axis(const Tensor& x) {
  const std::int64_t n = x.size(-1), rows = n == 0 ? 0 : x.numel() / n;
  Tensor y = empty_like(x);
  launch<kernel::Softmax>(x.device(), {x.raw(), y.mutable_raw(), rows, n, x.dtype()});
  return record_fused(
      "softmax", y, {x}, [](const std::vector<Tensor>& in) { return reference(in[0]); },
      [y = y.view(), rows, n](const Tensor& dy, const std::vector<bool>&) {
        Tensor dx = empty_like(y);
        launch<kernel::SoftmaxGrad>(y.device(),
                                    {y.raw(), dy.raw(), dx.mutable_raw(), rows, n, y.dtype()});
        return std::vector<Tensor>{dx};
      });
}

}  // namespace

Tensor softmax(const Tensor& x, int axis) {
  expect_floating("softmax", "x", x);
  axis = normalize_axis("softmax", axis, x.rank());
  if (axis == x.rank() - 1) return last_axis(x);
  std::vector<int> order(static_cast<std::size_t>(x.rank()));
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[static_cast<std::size_t>(axis)], order.back());
  return permute(last_axis(permute(x, order)), order);
}

}  // namespace ito
