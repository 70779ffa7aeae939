// Between two images: through the noise they come from, or through noise added to them.
//
//   const Tensor a = randn(rng, {1, 28, 28, 1}), b = randn(rng, {1, 28, 28, 1});
//   const Tensor x_T = slerp(a, b, 0.3);                                // 30 % of the way
//   const Tensor x0 = sample_ddim(model, x_T, sampling_levels(schedule, 50, Spacing::even), rng);
//
// The noise of an image is what encode_ddim gives.
#pragma once

#include "diffusion/sampling/samplers.h"

namespace ito {

/// The point at `fraction` of the great circle from each sample of `a` to the same of `b`, both
/// [N, ...] f32 or f64: sin((1 - fraction) theta) / sin(theta) a + sin(fraction theta) / sin(theta)
/// b with theta the angle between the two (Song et al. 2020, arXiv 2010.02502, appendix D.5).
/// Normal noise has nearly always the same length; so do the points between, unlike those on the
/// straight line. 0 and 1 give a and b bit by bit; where the angle is 0 the line is meant. Throws
/// ShapeError, DTypeError, and ValueError for opposite samples, between which there is no one
/// circle. Reads a number per sample back to the host.
Tensor slerp(const Tensor& a, const Tensor& b, double fraction);

/// Images between x0 and other, both [N, ...], by way of the level levels.front() (Ho et al. 2020,
/// arXiv 2006.11239, section 4.4): both are noised to it by the same noise, draw 0 of step 0 of
/// `rng`, mixed there as (1 - fraction) x_t + fraction x'_t, and denoised again by sample_ddpm over
/// `levels`. A higher level invents more.
Tensor interpolate_ddpm(const Denoiser& model, const Tensor& x0, const Tensor& other,
                        double fraction, std::span<const Level> levels, Rng rng,
                        const DdpmOptions& options = {});

}  // namespace ito
