// Changes of resolution on NHWC images.
//
//   const Tensor small = avg_pool(x);                   // [N, H, W, C] to [N, H/2, W/2, C]
//   const Tensor large = upsample_nearest(small);       // and back to the size of x
#pragma once

#include "tensor/tensor.h"

namespace ito {

/// Each pixel repeated factor x factor times: [N, H, W, C] to [N, factor H, factor W, C].
/// Differentiates any number of times (its gradient is factor^2 avg_pool).
Tensor upsample_nearest(const Tensor& x, int factor = 2);

/// Mean over non-overlapping factor x factor squares; H and W must be multiples of factor.
/// Differentiates any number of times.
Tensor avg_pool(const Tensor& x, int factor = 2);

}  // namespace ito
