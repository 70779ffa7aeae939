// Scaled dot-product attention (Vaswani et al. 2017, arXiv 1706.03762, eq. 1).
//
//   const Tensor h = Tensor::zeros({8, 49, 64});           // tokens [N, L, C]
//   const Tensor y = attention(h, h, h, /*heads=*/4);      // self-attention: [8, 49, 64]
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// softmax(q k^T / sqrt(d) + mask) v, for each sample and head; d = C / heads. Head h takes the
/// channels [h d, (h + 1) d).
///   q [N, L, C], k [N, S, C], v [N, S, C] (S may differ from L: cross-attention)
///   mask [L, S] or [N, L, S], added to the scores (0 keeps, -inf hides), or undefined; no gradient
///   returns [N, L, C]
/// A row whose scores are all -inf gives zeros. Fused; differentiates any number of times through
/// its reference. Throws ShapeError, DTypeError, DeviceError.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int heads = 1,
                 const Tensor& mask = {});

}  // namespace ito
