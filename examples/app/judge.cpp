#include "examples/app/judge.h"

#include <algorithm>

#include "autograd/engine.h"
#include "autograd/ops/layout.h"
#include "data/batch.h"
#include "diffusion/evaluation/frechet.h"
#include "examples/app/exit_codes.h"
#include "examples/app/signals.h"

namespace ito::app {

Judge::Judge(const LoadedClassifier& classifier, const Tensor& reference, Device device,
             std::int64_t batch)
    : classifier_(classifier), device_(device), batch_(batch), reference_(features(reference)) {}

ProxyRow Judge::row(const std::string& name, const Tensor& images, const Tensor& labels) const {
  const Tensor f = features(images);
  const std::int64_t equal = std::min(f.size(0), reference_.size(0));
  ProxyRow row;
  row.name = name;
  row.count = f.size(0);
  row.frechet = frechet_distance(feature_statistics(f), feature_statistics(reference_));
  row.kernel = kernel_distance(f, reference_);
  row.regions = precision_recall(slice(reference_, 0, 0, equal), slice(f, 0, 0, equal));
  if (labels.defined()) row.accuracy = accuracy(images, labels);
  return row;
}

// Images first, first + 1, ... of one batch, as the classifier takes them.
Tensor Judge::cut(const Tensor& images, std::int64_t first) const {
  if (stop_requested()) {
    throw ProgramError(signal_exit_code(), "stopped by a signal; nothing was written");
  }
  const std::int64_t count = std::min(batch_, images.size(0) - first);
  const std::int64_t size = images.numel() / images.size(0);
  const Tensor part =
      images.alias({count, images.size(1), images.size(2), images.size(3)}, first * size);
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
