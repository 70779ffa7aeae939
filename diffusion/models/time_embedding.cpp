#include "diffusion/models/time_embedding.h"

#include <cmath>
#include <numbers>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "tensor/check.h"
#include "tensor/kernels/sinusoid.h"
#include "tensor/launch.h"
#include "tensor/rng.h"

namespace ito {

Tensor sinusoidal_embedding(const Tensor& t, std::int64_t dim, DType dtype, Sinusoids order) {
  expect_rank("sinusoidal_embedding", "t", t, 1);
  if (dim < 4 || dim % 2 != 0) {
    fail<ValueError>("sinusoidal_embedding: dim must be even and at least 4; got {}", dim);
  }
  if (t.dtype() != DType::i64 && t.dtype() != DType::f32 && t.dtype() != DType::f64) {
    fail<DTypeError>("sinusoidal_embedding: t must be i64, f32 or f64; got {}",
                     describe({{"t", t}}));
  }
  const bool ddpm = order == Sinusoids::ddpm;
  const DType computed = dtype == DType::bf16 ? DType::f32 : dtype;
  Tensor y = Tensor::empty({t.numel(), dim}, computed, t.device());
  launch<kernel::Sinusoid>(t.device(),
                           {t.raw(), y.mutable_raw(), t.numel(), dim, ddpm ? dim / 2 - 1 : dim / 2,
                            /*cosines_first=*/!ddpm, t.dtype(), computed});
  return cast(y, dtype);
}

Tensor fourier_embedding(const Tensor& t, std::int64_t dim, double scale) {
  expect_rank("fourier_embedding", "t", t, 1);
  if (dim < 2 || dim % 2 != 0) {
    fail<ValueError>("fourier_embedding: dim must be even and at least 2; got {}", dim);
  }
  if (!is_floating(t.dtype())) {
    fail<DTypeError>("fourier_embedding: t must be floating, such as log sigma; got {}",
                     describe({{"t", t}}));
  }
  Rng draws(0, Purpose::init);
  const Tensor w = randn(draws, {1, dim / 2}, DType::f32, t.device());
  const Tensor angle =
      reshape(t, Shape{t.numel(), 1}) * (cast(w, t.dtype()) * (2.0 * std::numbers::pi * scale));
  return concat({sin(angle), cos(angle)});
}

Tensor with_fourier_features(const Tensor& x, const std::vector<std::int64_t>& exponents) {
  std::vector<Tensor> parts = {x};
  for (const std::int64_t n : exponents) {
    const Tensor angle = x * (std::ldexp(std::numbers::pi, static_cast<int>(n)));
    parts.push_back(sin(angle));
    parts.push_back(cos(angle));
  }
  return parts.size() == 1 ? x : concat(parts);
}

}  // namespace ito
