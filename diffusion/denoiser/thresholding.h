// Thresholding: keeping a denoiser's estimate of the clean image inside the range of images.
//
//   const Denoiser model = thresholded(parametrization.denoiser(network), clip_x0);
//   const Tensor x0 = sample_ddim(model, x_T, sampling_levels(schedule, 50, Spacing::even), rng);
//
// The noise that belongs to a limited estimate is the one that then explains x.
#pragma once

#include <functional>
#include <limits>

#include "diffusion/denoiser/parametrization.h"
#include "tensor/tensor.h"

namespace ito {

/// Applied to each estimate of x_0 [N, ...]; returns one of the same shape. Empty: none.
using Thresholding = std::function<Tensor(const Tensor& x0)>;

/// The denoiser with its estimates of x0 limited, and eps = (x - alpha x0) / sigma. Where
/// `thresholding` is empty, `model` itself.
Denoiser thresholded(Denoiser model, Thresholding thresholding);

/// x0 clamped to [-1, 1], element by element ("static thresholding").
Tensor clip_x0(const Tensor& x0);

/// Dynamic thresholding (Saharia et al. 2022, arXiv 2205.11487, section 2.3), for each sample by
/// itself: with s the larger of 1 and the `quantile` of |x0| over the sample's elements, x0 clamped
/// to [-s, s] and divided by s. Where guidance drives many elements beyond the range of images this
/// brings them back together, while clip_x0 leaves them saturated. `max_s` bounds s; 1 is clip_x0.
/// Throws ValueError unless 0 <= quantile <= 1 and max_s >= 1.
Thresholding dynamic_threshold(double quantile = 0.995,
                               double max_s = std::numeric_limits<double>::infinity());

}  // namespace ito
