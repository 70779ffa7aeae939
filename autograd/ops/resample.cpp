#include "autograd/ops/resample.h"

#include "autograd/engine.h"
#include "tensor/check.h"
#include "tensor/kernels/resample.h"
#include "tensor/launch.h"

namespace ito {
namespace {

void check(const char* op, const Tensor& x, int factor) {
  expect_rank(op, "x", x, 4);
  expect_floating(op, "x", x);
  if (factor < 1) fail<ValueError>("{}: factor must be >= 1; got {}", op, factor);
}

Tensor sum_pool(const char* op, const Tensor& x, int factor, double scale);

// scale times each pixel repeated. Its gradient is scale times the sum over the repetitions.
Tensor repeat(const char* op, const Tensor& x, int factor, double scale) {
  const std::int64_t n = x.size(0), h = x.size(1), w = x.size(2), c = x.size(3);
  Tensor y = Tensor::empty({n, h * factor, w * factor, c}, x.dtype(), x.device());
  launch<kernel::Upsample>(x.device(),
                           {x.raw(), y.mutable_raw(), n, h, w, c, factor, scale, x.dtype()});
  return record(op, y, {{x, [=](const Tensor& dy) { return sum_pool(op, dy, factor, scale); }}});
}

// scale times the sum over factor x factor squares; the transpose of `repeat`.
Tensor sum_pool(const char* op, const Tensor& x, int factor, double scale) {
  const std::int64_t n = x.size(0), h = x.size(1) / factor, w = x.size(2) / factor, c = x.size(3);
  Tensor y = Tensor::empty({n, h, w, c}, x.dtype(), x.device());
  launch<kernel::SumPool>(x.device(),
                          {x.raw(), y.mutable_raw(), n, h, w, c, factor, scale, x.dtype()});
  return record(op, y, {{x, [=](const Tensor& dy) { return repeat(op, dy, factor, scale); }}});
}

}  // namespace

Tensor upsample_nearest(const Tensor& x, int factor) {
  check("upsample_nearest", x, factor);
  return repeat("upsample_nearest", x, factor, 1.0);
}

Tensor avg_pool(const Tensor& x, int factor) {
  check("avg_pool", x, factor);
  if (x.size(1) % factor != 0 || x.size(2) % factor != 0) {
    fail<ShapeError>("avg_pool: height and width must be multiples of factor; got {}, factor = {}",
                     describe({{"x", x}}), factor);
  }
  return sum_pool("avg_pool", x, factor, 1.0 / (static_cast<double>(factor) * factor));
}

}  // namespace ito
