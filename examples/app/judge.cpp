#include "examples/app/judge.h"

#include <algorithm>

#include "autograd/engine.h"
#include "autograd/ops/layout.h"
#include "data/batch.h"
#include "examples/app/exit_codes.h"
#include "examples/app/signals.h"

namespace ito::app {

Judge::Judge(const LoadedClassifier& classifier, const Tensor& reference, Device device,
             std::int64_t batch)
    : classifier_(classifier), device_(device), batch_(batch), reference_(features(reference)) {}

ProxyRow Judge::row(const std::string& name, const Tensor& images, const Tensor& labels) const {
  ProxyRow row = compare_features(name, features(images), reference_);
  if (labels.defined()) row.accuracy = accuracy(images, labels);
  return row;
}

// Images first, first + 1, ... of one batch, as the classifier takes them.
Tensor Judge::cut(const Tensor& images, std::int64_t first) const {
  expect_no_signal();
  const std::int64_t count = std::min(batch_, images.size(0) - first);
  const std::int64_t size = images.numel() / images.size(0);
  const Tensor part =
      images.view({count, images.size(1), images.size(2), images.size(3)}, first * size);
  return data::from_bytes(part).to(device_);
}

Tensor Judge::features(const Tensor& images) const {
  const NoGrad no_grad;
  std::vector<Tensor> parts;
  for (std::int64_t first = 0; first < images.size(0); first += batch_) {
    parts.push_back(classifier_.network->features(cut(images, first)).to(Device::cpu()));
  }
  return concat(parts, 0);
}

double Judge::accuracy(const Tensor& images, const Tensor& labels) const {
  const std::vector<std::int64_t> wanted = labels.to_vector<std::int64_t>();
  std::size_t seen = 0, right = 0;
  for (std::int64_t first = 0; first < images.size(0); first += batch_) {
    const Tensor x = cut(images, first);
    const Tensor clean = Tensor::zeros({x.size(0)}, DType::i64, device_);
    for (const std::int64_t guess : classify(*classifier_.network, x, clean)) {
      right += guess == wanted[seen++];
    }
  }
  return static_cast<double>(right) / static_cast<double>(seen);
}

}  // namespace ito::app
