// Weights that are used again and again without changing, as between the steps of a sampler: what
// kernels make of them first (kernels/packed_weights.h) is then made once.
//
//   const KeepPackedWeights keep;
//   for (int i = 0; i < 50; ++i) x = unet(x, t);      // packs each weight the first time only
//
// Nothing can go stale: a parameter that is written to is made anew, and one that goes away stays
// in memory until nothing is kept any more.
//
// It pays where a weight meets few pixels. To put one element of a weight in order costs about as
// much as 70 multiply-adds in the inner loops, a share of 70 / rows for `rows` pixels, but copies
// cost as much memory as the weight, Winograd's up to four times that. So they are kept for up to
// max_kept_rows pixels, that is for an image or two.
#pragma once

#include <cstdint>

#include "tensor/kernels/packed_weights.h"
#include "tensor/tensor.h"

namespace ito {

/// While one of these lives on this thread, packed parameters on the CPU are kept.
class KeepPackedWeights {
 public:
  KeepPackedWeights();
  ~KeepPackedWeights();
  KeepPackedWeights(const KeepPackedWeights&) = delete;
  KeepPackedWeights& operator=(const KeepPackedWeights&) = delete;
};

// For ops:

inline constexpr std::int64_t max_kept_rows = 256;

/// Where a kernel finds and leaves packed copies of `weight`, used with `rows` pixels or tokens.
/// Null where none are kept: without a KeepPackedWeights, on a device, for more than max_kept_rows,
/// and for what is no parameter.
kernel::PackedWeights* packed_weights_of(const Tensor& weight, std::int64_t rows);

}  // namespace ito
