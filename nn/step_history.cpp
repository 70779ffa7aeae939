#include "nn/step_history.h"

#include "tensor/check.h"
#include "tensor/kernels/optimizer.h"
#include "tensor/launch.h"

namespace ito::nn {
namespace {

std::int64_t expect_positive(const char* name, std::int64_t value) {
  if (value < 1) fail<ValueError>("StepHistory: {} must be >= 1; got {}", name, value);
  return value;
}

}  // namespace

StepHistory::StepHistory(std::int64_t capacity, std::int64_t batch, Device device)
    : batch_(expect_positive("batch", batch)),
      rows_(Tensor::zeros({expect_positive("capacity", capacity), 2 * batch + 2}, DType::f64,
                          device)),
      position_(Tensor::zeros({1}, DType::i64, device)) {}

void StepHistory::add(const Tensor& losses, const Tensor& t, const Adam& adam) {
  expect_shape("StepHistory", "losses", losses, {batch_});
  expect_dtype("StepHistory", "losses", losses, DType::f32);
  expect_shape("StepHistory", "t", t, {batch_});
  launch<kernel::RecordStep>(
      rows_.device(),
      {losses.raw(), t.data<std::int64_t>(),
       static_cast<const kernel::AdamScalars*>(adam.scalars_.raw()), rows_.mutable_data<double>(),
       position_.mutable_data<std::int64_t>(), batch_, capacity(), losses.dtype()});
}

std::vector<StepHistory::Row> StepHistory::drain() {
  const auto added = static_cast<std::int64_t>(position_.item());
  if (added > capacity()) {
    fail<Error>("StepHistory: {} steps since the last drain() where {} have room", added,
                capacity());
  }
  std::vector<Row> rows;
  if (added == 0) return rows;
  const std::int64_t width = 2 * batch_ + 2;
  const auto numbers = rows_.view({added, width}).to_vector<double>();
  for (std::int64_t r = 0; r < added; ++r) {
    const double* row = numbers.data() + r * width;
    Row& result = rows.emplace_back();
    for (std::int64_t i = 0; i < batch_; ++i) {
      result.losses.push_back(static_cast<float>(row[i]));
      result.t.push_back(static_cast<std::int64_t>(row[batch_ + i]));
    }
    result.grad_norm = row[2 * batch_];
    result.updated = row[2 * batch_ + 1] != 0.0;
  }
  position_.fill(0.0);
  return rows;
}

}  // namespace ito::nn
