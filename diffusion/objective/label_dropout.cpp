#include "diffusion/objective/label_dropout.h"

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "tensor/check.h"

namespace ito {

Tensor drop_labels(const Tensor& labels, std::int64_t null_label, double probability, Rng& rng) {
  expect_rank("drop_labels", "labels", labels, 1);
  expect_dtype("drop_labels", "labels", labels, DType::i64);
  if (!(probability >= 0.0 && probability <= 1.0)) {
    fail<ValueError>("drop_labels: probability must be in [0, 1]; got {}", probability);
  }
  const Tensor dropped = rand(rng, labels.shape(), DType::f32, labels.device()) < probability;
  const auto null = static_cast<double>(null_label);
  return cast(where(dropped, null, cast(labels, DType::f32)), DType::i64);
}

}  // namespace ito
