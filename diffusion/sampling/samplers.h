// Samplers: from noise x_T to images x_0 with a trained denoiser, each a function of one screen.
//
//   Rng rng(seed, Purpose::sample);
//   const Tensor x_T = randn(rng, {64, 28, 28, 1});
//   const std::vector<Level> levels = sampling_levels(schedule, 50, Spacing::even);
//   const Denoiser model = thresholded(parametrization.denoiser(std::cref(unet)), clip_x0);
//   const Tensor x0 = sample_ddim(model, x_T, levels, rng);
//
// sample_ddpm walks the Markov chain of DDPM and wants many steps; sample_ddim (eta = 0) is
// deterministic and good from about 20 steps on: prefer it, unless the point is DDPM itself. The
// others solve the equation of which DDIM is the simplest solution, to a higher order:
// sample_unipc is good from about 10 steps on. To write another, see sampling_loop.h.
//
// Common to all:
// - `levels` are the noise levels from x_T to the end, usually clean images: those of a schedule or
//   of a path (spacing.h), or any others. All samplers work for all processes: DDPM, EDM, variance
//   exploding, sub-VP, rectified flow.
// - x_T is [N, ...] in f32 or f64 and the caller's, so one can start from the same noise again. It
//   is noise of the first level: N(0, I) for a NoiseSchedule, else levels.front().sigma times that.
// - Nothing is recorded for gradients.
// - Noise of a step: see SamplingLoop::noise. Sample i has that of rng.first_sample() + i: cutting
//   a batch in two changes no image.
// - One step (network, update and noise) is a CudaGraph (tensor/cuda_graph.h): on CUDA the first
//   step runs as it is, the second is recorded, and from then on a step is one launch. What differs
//   between steps lies in device memory, and no step waits for the one before, unless an observer
//   reads what it is given. `graph = false` runs the operations one by one: the same images bit by
//   bit, and the way out for a network that reads its tensors on the host.
// - Errors: DTypeError for x_T, ValueError for levels and options, whatever the model or the
//   observer throws; that is also how an observer stops a run.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "diffusion/denoiser/guidance.h"
#include "diffusion/denoiser/parametrization.h"
#include "diffusion/process/reverse_variance.h"
#include "diffusion/sampling/sampling_loop.h"
#include "diffusion/sampling/spacing.h"
#include "tensor/rng.h"

namespace ito {

struct DdpmOptions {
  ReverseVariance variance = ReverseVariance::beta;
  /// For the analytic variance: E[eps_hat^2] per element where each step starts, in the order of
  /// the steps (analytic_variance.h).
  std::vector<double> mean_squared_eps = {};
  /// Moves the mean of each step by the step's variance times this: classifier guidance (Dhariwal &
  /// Nichol 2021, arXiv 2105.05233, Algorithm 1; guidance.h).
  ScoreShift shift_mean = {};
  SamplingOptions loop = {};
};

/// Ancestral sampling (Ho et al. 2020, arXiv 2006.11239, Algorithm 2): each step draws from
/// N(mu, sigma^2 I), mu the mean of q(x_{t-1} | x_t, x0_hat), and the last step takes the mean.
/// Over fewer levels than the schedule has it is the chain over these: beta of a step from t to s
/// is 1 - alpha_bar_t / alpha_bar_s (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 19). Throws
/// ValueError for a learned variance from a network that has none.
Tensor sample_ddpm(const Denoiser& model, const Tensor& x_T, std::span<const Level> levels, Rng rng,
                   const DdpmOptions& options = {});

struct DdimOptions {
  double eta = 0.0;  ///< 0: deterministic; 1: as noisy as DDPM with beta_tilde
  /// Where given, E[eps_hat^2] per element where each step starts, in the order of the steps: the
  /// noise of a step is the best one for its mean (Bao et al. 2022, arXiv 2201.06503, eq. 8), eta =
  /// 0 included.
  std::vector<double> mean_squared_eps = {};
  SamplingOptions loop = {};
};

/// Denoising diffusion implicit models (Song et al. 2020, arXiv 2010.02502, eq. 12 and 16). With
/// eta = 0 the generator is not used. Throws ValueError when eta is negative or so large that a
/// step would need more noise than its target has (eta <= 1 always fits).
Tensor sample_ddim(const Denoiser& model, const Tensor& x_T, std::span<const Level> levels, Rng rng,
                   const DdimOptions& options = {});

/// The noise x_T from which sample_ddim(eta = 0) over the same levels comes back to x_0, up to an
/// error that falls as 1 / steps: the same steps backwards, each with the noise estimated at its
/// start (Song et al. 2020, section 4.3). `levels` as for sample_ddim, the clean one last.
Tensor encode_ddim(const Denoiser& model, const Tensor& x0, std::span<const Level> levels,
                   const SamplingOptions& options = {});

// The samplers of the probability-flow ODE. With x_bar = x / alpha and sigma_bar = sigma / alpha,
// so that x_bar = x_0 + sigma_bar eps, that is d x_bar / d sigma_bar = eps (Karras et al. 2022,
// arXiv 2206.00364, eq. 1; Song et al. 2020, eq. 14). All but Heun's with churn are deterministic.
// Their last step, to clean images, ends at the denoiser's estimate of x_0, in which nothing is
// left to be solved.

/// Euler's method, of first order: DDIM with eta = 0 in other words.
Tensor sample_euler(const Denoiser& model, const Tensor& x_T, std::span<const Level> levels,
                    const SamplingOptions& options = {});

/// DPM-Solver++(2M), of second order with one evaluation of the network per step (Lu et al. 2022,
/// arXiv 2211.01095, Algorithm 2): x_0 is taken to go on as in the step before.
Tensor sample_dpmpp_2m(const Denoiser& model, const Tensor& x_T, std::span<const Level> levels,
                       const SamplingOptions& options = {});

/// UniPC-2 (Zhao et al. 2023, arXiv 2302.04867, B(h) = e^h - 1), of third order with one evaluation
/// per step: DPM-Solver++(2M), each of whose steps is corrected when x_0 at its end is known.
Tensor sample_unipc(const Denoiser& model, const Tensor& x_T, std::span<const Level> levels,
                    const SamplingOptions& options = {});

struct HeunOptions {
  double churn = 0.0;      ///< S_churn: 0 deterministic; up to (sqrt 2 - 1) steps has an effect
  double churn_min = 0.0;  ///< S_min: only where sigma / alpha is at least this,
  double churn_max = std::numeric_limits<double>::infinity();  ///< S_max: and at most this
  double churn_noise = 1.0;  ///< S_noise, the standard deviation of what is added
  /// The level of the process with a given sigma / alpha, such as NoiseSchedule::level_at or
  /// Path::level_at; needed for churn, which goes back to more noise.
  std::function<Level(double noise_to_signal)> level_at = {};
  SamplingOptions loop = {};
};

/// Heun's method, of second order with two evaluations per step but the last: 2 steps - 1 (Karras
/// et al. 2022, Algorithm 2). With churn each step first adds noise, and is stochastic. Throws
/// ValueError when an option of churn is negative or level_at is missing.
Tensor sample_heun(const Denoiser& model, const Tensor& x_T, std::span<const Level> levels, Rng rng,
                   const HeunOptions& options = {});

}  // namespace ito
