#include "diffusion/models/time_embedding.h"

#include "autograd/ops/layout.h"
#include "tensor/check.h"
#include "tensor/kernels/sinusoid.h"
#include "tensor/launch.h"

namespace ito {

Tensor sinusoidal_embedding(const Tensor& t, std::int64_t dim, DType dtype) {
  expect_rank("sinusoidal_embedding", "t", t, 1);
  expect_dtype("sinusoidal_embedding", "t", t, DType::i64);
  if (dim < 4 || dim % 2 != 0) {
    fail<ValueError>("sinusoidal_embedding: dim must be even and at least 4; got {}", dim);
  }
  const DType computed = dtype == DType::bf16 ? DType::f32 : dtype;
  Tensor y = Tensor::empty({t.numel(), dim}, computed, t.device());
  launch<kernel::Sinusoid>(t.device(), {t.raw(), y.mutable_raw(), t.numel(), dim, computed});
  return convert(y, dtype);
}

}  // namespace ito
