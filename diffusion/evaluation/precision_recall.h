// Precision and recall of generated images (Kynkäänniemi et al. 2019, arXiv 1904.06991): how many
// of them look real, and how many of the real ones could have been generated.
//
//   const Tensor real = classifier.features(images), made = classifier.features(samples);
//   const PrecisionRecall pr = precision_recall(real, made);
//
// A set of features stands for the region made of a ball around each, as wide as the way to its
// k-th nearest neighbour in the set. A generator that repeats a few good images has high precision
// and low recall; one that also draws nonsense the opposite. Both depend on the number of features:
// compare sets of equal size.
#pragma once

#include <cstdint>
#include <functional>

#include "tensor/tensor.h"

namespace ito {

struct PrecisionRecall {
  double precision;  ///< the part of the generated features inside the region of the real ones
  double recall;     ///< the part of the real features inside the region of the generated ones
};

/// Of features real [n, D] and generated [m, D], f32 or f64, on any device; computed in f64 on the
/// CPU, in blocks of 512 rows of distances. `progress` is told the share of the work that is done.
/// Throws ValueError unless 1 <= k < n and k < m, ShapeError, DTypeError.
PrecisionRecall precision_recall(const Tensor& real, const Tensor& generated, std::int64_t k = 3,
                                 const std::function<void(double share)>& progress = {});

}  // namespace ito
