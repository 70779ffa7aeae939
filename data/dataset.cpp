#include "data/dataset.h"

#include <algorithm>
#include <numeric>

#include "data/names.h"

namespace ito::data {

std::vector<std::string> class_names(const std::string& dataset) {
  if (dataset == "mnist") return {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  if (dataset == "fashion-mnist") {
    return {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
            "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
  }
  if (dataset == "cifar10") {
    return {"airplane", "automobile", "bird",  "cat",  "deer",
            "dog",      "frog",       "horse", "ship", "truck"};
  }
  if (dataset == "synthetic") {
    return {"disc",  "ring", "square",   "frame", "triangle",
            "cross", "star", "crescent", "bar",   "heart"};
  }
  return {};
}

Dataset Dataset::to(Device device) const {
  Dataset there = *this;
  there.images = images.to(device);
  return there;
}

Dataset subset(const Dataset& dataset, const std::vector<std::int64_t>& indices) {
  const std::int64_t n = dataset.count();
  const auto outside =
      std::find_if(indices.begin(), indices.end(), [n](std::int64_t i) { return i < 0 || i >= n; });
  if (outside != indices.end()) {
    fail<ValueError>("subset: indices must be in [0, {}); got {}", n, *outside);
  }
  Dataset part;
  part.name = dataset.name;
  part.class_names = dataset.class_names;
  const auto count = static_cast<std::int64_t>(indices.size());
  part.images = Tensor::empty(dataset.images.shape().with(0, count), DType::u8);
  const std::int64_t pixels = n == 0 ? 0 : dataset.images.numel() / n;
  const Tensor images = dataset.images.to(Device::cpu());
  const std::uint8_t* from = images.data<std::uint8_t>();
  std::uint8_t* to = part.images.mutable_data<std::uint8_t>();
  for (const std::int64_t i : indices) to = std::copy_n(from + i * pixels, pixels, to);
  if (dataset.labels.defined()) {
    part.labels = Tensor::empty({count}, DType::i64);
    const std::int64_t* labels = dataset.labels.data<std::int64_t>();
    std::transform(indices.begin(), indices.end(), part.labels.mutable_data<std::int64_t>(),
                   [labels](std::int64_t i) { return labels[i]; });
  }
  return part;
}

Dataset subset(const Dataset& dataset, std::int64_t first, std::int64_t count) {
  if (first < 0 || count < 0 || first > dataset.count() - count) {
    fail<ValueError>("subset: images [{}, {} + {}) must be in [0, {})", first, first, count,
                     dataset.count());
  }
  std::vector<std::int64_t> indices(static_cast<std::size_t>(count));
  std::iota(indices.begin(), indices.end(), first);
  return subset(dataset, indices);
}

}  // namespace ito::data
