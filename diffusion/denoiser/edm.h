// The design of Karras et al. 2022 (arXiv 2206.00364, "EDM"): whatever the noise level sigma, the
// network F sees inputs of variance 1 and is trained towards targets of variance 1, and its part in
// the estimate of x0 is small where there is little noise.
//
//   const Edm edm{.sigma_data = 0.5};
//   const Tensor sigma = edm.draw_sigma(rng, batch);
//   backward(mean(edm.losses(F, x0, sigma, eps)));            // 1 for a network that puts out 0
//
//   const NoiseSchedule levels = NoiseSchedule::karras(18);   // sigma from .002 to 80
//   const GaussianDiffusion process{levels, Prediction::edm, edm.sigma_data};
//   sample_ddim(process, edm_denoiser(edm, F, levels), x_T, rng);
//
// Noise is x = x0 + sigma eps here (variance exploding); edm_denoiser takes it to the coordinates of
// a schedule, in which all samplers work. Equation numbers are the paper's. Shapes: x0, x, eps
// [N, ...] in f32 or f64, sigma [N] of the same dtype and device. Throws ShapeError, DTypeError.
#pragma once

#include <functional>

#include "diffusion/denoiser/gaussian_diffusion.h"
#include "tensor/rng.h"

namespace ito {

/// F: (c_in x [N, ...], c_noise [N], a real number) to x's shape.
using NoiseNetwork = std::function<Tensor(const Tensor& x, const Tensor& c_noise)>;

struct Edm {
  double sigma_data = 0.5;  ///< standard deviation of the data
  double log_mean = -1.2;   ///< ln sigma ~ N(log_mean, log_stddev^2) while training
  double log_stddev = 1.2;

  /// F(c_in x; c_noise) with c_in = 1 / sqrt(sigma^2 + sigma_data^2), c_noise = ln(sigma) / 4.
  Tensor output(const NoiseNetwork& F, const Tensor& x, const Tensor& sigma) const;

  /// The estimate of x0, D(x; sigma) = c_skip x + c_out F(c_in x; c_noise) (eq. 7), with
  /// c_skip = sigma_data^2 / (sigma^2 + sigma_data^2), c_out = sigma sigma_data c_in.
  Tensor denoise(const NoiseNetwork& F, const Tensor& x, const Tensor& sigma) const;

  /// What F should put out, (x0 - c_skip x) / c_out; of variance 1 when the data's is sigma_data^2
  /// (eq. 8).
  Tensor target(const Tensor& x0, const Tensor& sigma, const Tensor& eps) const;

  /// The squared error of F, averaged over the elements of each sample: [N]. That is the error of D
  /// with the weight 1 / c_out^2 (eq. 8).
  Tensor losses(const NoiseNetwork& F, const Tensor& x0, const Tensor& sigma,
                const Tensor& eps) const;

  /// n noise levels to train at, [n].
  Tensor draw_sigma(Rng& rng, std::int64_t n, DType dtype = DType::f32,
                    Device device = Device::cpu()) const;
};

/// F as a model for every sampler: its output for x_t = alpha (x0 + sigma eps), where alpha and
/// sigma are the schedule's at t. The process that it serves has Prediction::edm and the same
/// sigma_data.
Denoiser edm_denoiser(const Edm& edm, const NoiseNetwork& F, const NoiseSchedule& schedule);

}  // namespace ito
