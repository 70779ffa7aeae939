#include "diffusion/evaluation/precision_recall.h"

#include <algorithm>
#include <vector>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"
#include "tensor/error.h"

namespace ito {
namespace {

// Squared distances of feature i of x to all of y, [m]. By differences: equal features are at 0.
Tensor squared_distances(const Tensor& x, std::int64_t i, const Tensor& y) {
  return sum(square(y - slice(x, 0, i, i + 1)), {1});
}

// The squared distance of every feature to its k-th nearest neighbour, [n].
Tensor squared_radii(const Tensor& x, std::int64_t k) {
  std::vector<double> radii;
  for (std::int64_t i = 0; i < x.size(0); ++i) {
    std::vector<double> d = squared_distances(x, i, x).to_vector<double>();
    std::nth_element(d.begin(), d.begin() + k,
                     d.end());  // the nearest, at 0, is the feature itself
    radii.push_back(d[static_cast<std::size_t>(k)]);
  }
  return Tensor::from(radii, {x.size(0)});
}

// The part of `points` that lies in a ball around a feature of `set`.
double part_inside(const Tensor& points, const Tensor& set, std::int64_t k) {
  const Tensor radii = squared_radii(set, k);
  double inside = 0.0;
  for (std::int64_t i = 0; i < points.size(0); ++i) {
    inside += max(squared_distances(points, i, set) <= radii).item();
  }
  return inside / static_cast<double>(points.size(0));
}

}  // namespace

PrecisionRecall precision_recall(const Tensor& real, const Tensor& generated, std::int64_t k) {
  for (const Tensor& features : {real, generated}) {
    expect_rank("precision_recall", "features", features, 2);
    expect_floating("precision_recall", "features", features);
    if (k < 1 || k >= features.size(0)) {
      fail<ValueError>("precision_recall: k must be in [1, {}), the number of features; got {}",
                       features.size(0), k);
    }
  }
  expect_shape("precision_recall", "generated", generated, {generated.size(0), real.size(1)});
  const Tensor x = cast(real.to(Device::cpu()), DType::f64);
  const Tensor y = cast(generated.to(Device::cpu()), DType::f64);
  return {part_inside(y, x, k), part_inside(x, y, k)};
}

}  // namespace ito
