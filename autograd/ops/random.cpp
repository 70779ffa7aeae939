#include "autograd/ops/random.h"

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "tensor/check.h"

namespace ito {

Tensor dropout(const Tensor& x, double p, Rng& rng) {
  expect_floating("dropout", "x", x);
  if (!(p >= 0.0 && p < 1.0)) fail<ValueError>("dropout: p must be in [0, 1); got {}", p);
  if (p == 0.0) return x;
  // Drawn in f32 for every dtype, so that f64 checks see the mask that f32 trains with.
  const Tensor kept = rand(rng, x.shape(), DType::f32, x.device()) >= p;
  return x * cast(kept * (1.0 / (1.0 - p)), x.dtype());
}

}  // namespace ito
