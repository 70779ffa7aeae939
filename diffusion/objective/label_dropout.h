// Labels that are sometimes forgotten: one network then learns both the images of each class and
// those of any, which is what guidance without a classifier compares (Ho & Salimans 2022,
// arXiv 2207.12598, Algorithm 1).
//
//   const Tensor some = drop_labels(labels, /*null_label=*/10, /*probability=*/0.1, rng);
//   const Tensor output = unet(x_t, t, {.labels = some});
#pragma once

#include <cstdint>

#include "tensor/rng.h"
#include "tensor/tensor.h"

namespace ito {

/// Each of `labels`, i64 [N], with the given probability replaced by `null_label`. The numbers are
/// the generator's on the device of the labels, so that this may stand in a recorded step. Labels
/// up to 2^24. Throws DTypeError, ShapeError, ValueError (probability outside [0, 1]).
Tensor drop_labels(const Tensor& labels, std::int64_t null_label, double probability, Rng& rng);

}  // namespace ito
