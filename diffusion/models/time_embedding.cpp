#include "diffusion/models/time_embedding.h"

#include <cmath>
#include <vector>

#include "autograd/ops/layout.h"
#include "tensor/check.h"

namespace ito {

Tensor sinusoidal_embedding(const Tensor& t, std::int64_t dim, DType dtype) {
  expect_rank("sinusoidal_embedding", "t", t, 1);
  expect_dtype("sinusoidal_embedding", "t", t, DType::i64);
  if (dim < 4 || dim % 2 != 0) {
    fail<ValueError>("sinusoidal_embedding: dim must be even and at least 4; got {}", dim);
  }
  const auto half = static_cast<std::size_t>(dim / 2);
  std::vector<double> y(static_cast<std::size_t>(t.numel() * dim));
  double* row = y.data();
  for (const std::int64_t step : t.to_vector<std::int64_t>()) {
    for (std::size_t i = 0; i < half; ++i) {
      const double f = std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half - 1));
      row[i] = std::sin(static_cast<double>(step) * f);
      row[half + i] = std::cos(static_cast<double>(step) * f);
    }
    row += dim;
  }
  return convert(Tensor::from(y, {t.numel(), dim}), dtype).to(t.device());
}

}  // namespace ito
