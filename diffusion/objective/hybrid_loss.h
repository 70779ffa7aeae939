// Training a network that learns the variance of the reverse steps (Nichol & Dhariwal 2021, arXiv
// 2102.09672). It puts out twice the channels: see split_output.
//
//   const VariationalBound bound(schedule, {.variance = ReverseVariance::learned}, DType::f32,
//                                device);
//   const Tensor output = unet(x_t, levels.time);                    // [N, H, W, 2 C]
//   const Tensor losses = parametrization.losses(output, x0, eps, levels) +    // L_hybrid, eq. 16:
//       variance_losses(bound, parametrization.denoised(output, x_t, levels), x_t, x0, t, eps);
//
// L_simple says nothing about a variance; the bound does. All are [N], differentiated, free of host
// work inside a graph, and for t drawn uniformly; otherwise weigh them (timestep_sampler.h).
#pragma once

#include "diffusion/likelihood/variational_bound.h"

namespace ito {

/// An estimate of the whole bound in bits per element from one timestep of each image: T times the
/// term at t. L_vlb of the paper; teaches the mean and the variance.
Tensor bound_losses(const VariationalBound& bound, const Denoised& denoised, const Tensor& x_t,
                    const Tensor& x0, const Tensor& t, const Tensor& eps);

/// 0.001 times the same with the prediction held fixed: what L_hybrid adds to L_simple. Its
/// gradient reaches the variance alone.
Tensor variance_losses(const VariationalBound& bound, const Denoised& denoised, const Tensor& x_t,
                       const Tensor& x0, const Tensor& t, const Tensor& eps);

}  // namespace ito
