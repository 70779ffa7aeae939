// The variational bound on the likelihood, term by term (Ho et al. 2020, arXiv 2006.11239, eq. 5):
//
//   -log p(x_0) <= L_T + L_{T-1} + ... + L_1 + L_0,
//   L_T      KL(q(x_T | x_0) || N(0, I)), the prior
//   L_{t-1}  KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)), for t = T .. 2
//   L_0      -log p(x_0 | x_1), the decoder
//
//   const Denoiser model = parametrization.denoiser(network);
//   const VariationalBound bound(schedule, {.variance = ReverseVariance::beta_tilde});
//   BoundTable table = bound.evaluate(model, x0, rng);    // every term, for a batch of images
//   table.add(bound.evaluate(model, x0, rng));            // and for the next
//   table.bits_per_dimension();
//
// Everything is in nats per element ("dimension"); divide by ln 2 for bits. Timesteps count from 0
// as everywhere in the code: the term at t is the step from x_t to x_{t-1}, and the one at 0 is the
// decoder. For the bound of a chain over some of the timesteps pass schedule.respaced(visited),
// with the same denoiser.
#pragma once

#include <cstdint>
#include <vector>

#include "diffusion/denoiser/parametrization.h"
#include "diffusion/likelihood/discretized_likelihood.h"
#include "diffusion/process/reverse_variance.h"
#include "diffusion/process/schedule.h"
#include "tensor/rng.h"

namespace ito {

struct BoundOptions {
  /// beta and beta_tilde take beta_tilde of t = 1 for the decoder (t = 0), as Ho et al. do.
  ReverseVariance variance = ReverseVariance::beta_tilde;
  DiscretizedLikelihood decoder = DiscretizedLikelihood::tanh_bins;
  /// For `analytic`: E[eps_hat^2] or explained noise by timestep, [T] (analytic_variance.h).
  std::vector<double> mean_squared_eps = {};
};

/// The term at the timestep t of each sample, [N] each, averages over a sample's elements.
struct BoundTerms {
  Tensor nats;       ///< L at t
  Tensor x0_error;   ///< (x0 - x0_hat)^2
  Tensor eps_error;  ///< (eps - eps_hat)^2, eps being what x0 leaves of x_t
};

/// p(x_{t-1} | x_t), a normal distribution of each element; at t = 0 the decoder's.
struct ReverseStep {
  Tensor mean;          ///< of x_t's shape
  Tensor log_variance;  ///< of x_t's shape when learned, else [N, 1, ..., 1]
  Tensor x0;            ///< the estimate of x_0 behind the mean
};

/// The terms of the bound for some images, averaged over them.
struct BoundTable {
  std::vector<double> nats;       ///< by t, [T]: nats[0] is the decoder's
  std::vector<double> x0_error;   ///< by t
  std::vector<double> eps_error;  ///< by t
  double prior = 0.0;             ///< L_T
  std::vector<double> of_image;   ///< the whole bound of each image, in nats per element

  std::int64_t images() const { return static_cast<std::int64_t>(of_image.size()); }
  /// Takes more images in. Throws ValueError when the numbers of timesteps differ.
  void add(const BoundTable& more);
  /// The bound: prior and all terms.
  double total() const;
  double bits_per_dimension() const;
  /// Of bits_per_dimension(), from the spread over images: one standard deviation of their mean.
  double standard_error_bits() const;
  /// Nats per element that tell x_t: the prior and the terms after t (Ho et al. 2020, section 4.3).
  /// rate(-1) = total().
  double rate(std::int64_t t) const;
};

class VariationalBound {
 public:
  /// `dtype` and `device` are those of the images. Throws ValueError when mean_squared_eps is not
  /// one number per timestep for `analytic`.
  VariationalBound(NoiseSchedule schedule, BoundOptions options, DType dtype = DType::f32,
                   Device device = Device::cpu());

  const NoiseSchedule& schedule() const { return schedule_; }

  /// L_T of each image x0 [N, ...]: [N].
  Tensor prior(const Tensor& x0) const;

  /// p(x_{t-1} | x_t) for t i64 [N].
  ReverseStep reverse_step(const Denoiser& model, const Tensor& x_t, const Tensor& t) const;

  /// The term at t [N] of each x0, at x_t = alpha x0 + sigma eps: an estimate of its mean over eps.
  /// Differentiated, and free of host work inside a graph: also a training loss.
  BoundTerms terms(const Denoiser& model, const Tensor& x0, const Tensor& t,
                   const Tensor& eps) const;
  /// The same for estimates denoised = model(x_t, schedule().levels(t, x_t)) that are already
  /// there.
  BoundTerms terms_of(const Denoised& denoised, const Tensor& x_t, const Tensor& x0,
                      const Tensor& t, const Tensor& eps) const;

  /// All terms of images x0 [N, ...], one network call per timestep; nothing is recorded. The noise
  /// of timestep t is drawn at step t + 1 of `rng`, for image i as sample rng.first_sample() + i.
  BoundTable evaluate(const Denoiser& model, const Tensor& x0, Rng rng) const;

  /// The same from 1 + `draws` network calls, for schedules of many timesteps: the decoder's term,
  /// and `draws` of the others for each image, early ones more often, weighted so that every number
  /// of the table has the expectation of evaluate()'s. A single entry is noisy (0 where nobody was
  /// drawn); sums are not: standard_error_bits() has the noise of both. The numbers of draw k are
  /// those of step k + 1 of `rng`. Throws ValueError unless draws >= 1 and there are two timesteps.
  BoundTable estimate(const Denoiser& model, const Tensor& x0, Rng rng, std::int64_t draws) const;

 private:
  Tensor log_variance(const Tensor& learned, const Tensor& t, const Tensor& x) const;

  NoiseSchedule schedule_;
  BoundOptions options_;
  // By timestep, [T], in the dtype and on the device of the images.
  Tensor log_variance_;    // of p; of q's when it is learned, clipped
  Tensor log_beta_;        // only when learned
  Tensor log_beta_tilde_;  // of q, clipped
  Tensor weight_x0_;       // of the posterior's mean
  Tensor weight_x_t_;
  Tensor variance_kl_;  // the part of the divergence that the variances alone make
};

}  // namespace ito
