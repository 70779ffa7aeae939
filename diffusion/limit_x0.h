// Keeping a network's estimate of the clean image inside the range of images, while sampling.
//
//   sample_ddpm(process, model, x_T, rng, {.limit_x0 = clip_x0});
//
// The noise that belongs to a limited estimate is the one that then explains x_t.
#pragma once

#include <functional>

#include "tensor/tensor.h"

namespace ito {

/// Applied to each estimate of x_0 [N, ...]; returns one of the same shape. Empty: none.
using X0Limit = std::function<Tensor(const Tensor& x0)>;

/// x0 clamped to [-1, 1], element by element ("static thresholding").
Tensor clip_x0(const Tensor& x0);

}  // namespace ito
