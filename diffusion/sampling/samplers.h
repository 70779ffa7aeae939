// Samplers: from noise x_T to images x_0 with a trained network, each a function of one screen.
//
//   Rng rng(seed, Purpose::sample);
//   const Tensor x_T = randn(rng, {64, 28, 28, 1});
//   const Tensor x0 = sample_ddim(process, model, x_T, rng, {.steps = 50});
//
// sample_ddpm walks the Markov chain of DDPM and wants many steps; sample_ddim (eta = 0) is
// deterministic and good from about 20 steps on: prefer it, unless the point is DDPM itself. The
// others solve the equation of which DDIM is the simplest solution, to a higher order:
// sample_unipc is good from about 10 steps on. To write another, see sampling_loop.h.
//
// Common to all:
// - x_T is [N, ...] in f32 or f64 and the caller's, so one can start from the same noise again.
// - Nothing is recorded for gradients.
// - The noise of the step at timestep t is drawn at step t + 1 of `rng` (step 0 is left for x_T),
//   and for sample i as sample rng.first_sample() + i: cutting a batch in two changes no image.
// - One step (network, update and noise) is a Graph (tensor/graph.h): on CUDA the first step runs as
//   it is, the second is recorded, and from then on a step is one launch. What differs between
//   steps lies in device memory, and no step waits for the one before, unless an observer reads
//   what it is given. `graph = false` runs the operations one by one: the same images bit by bit,
//   and the way out for a network that reads its tensors on the host.
// - Errors: ShapeError and DTypeError for x_T, ValueError for options, whatever the model or the
//   observer throws; that is also how an observer stops a run.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "diffusion/denoiser/gaussian_diffusion.h"
#include "diffusion/denoiser/guidance.h"
#include "diffusion/process/reverse_variance.h"
#include "diffusion/sampling/sampling_loop.h"
#include "diffusion/sampling/spacing.h"
#include "tensor/rng.h"

namespace ito {

struct DdpmOptions {
  std::int64_t steps = 0;  ///< 0: all timesteps of the schedule
  Spacing spacing = Spacing::even;
  ReverseVariance variance = ReverseVariance::beta;
  /// For the analytic variance: E[eps_hat^2] per element at every timestep of the schedule.
  std::vector<double> mean_squared_eps = {};
  /// Moves the mean of each step by the step's variance times this: classifier guidance (Dhariwal &
  /// Nichol 2021, arXiv 2105.05233, Algorithm 1; guidance.h).
  ScoreShift shift_mean = {};
  X0Limit limit_x0 = {};  ///< for each estimate of x0; clip_x0 is usual for images
  Observer observer = {};
  bool graph = true;  ///< record a step once and replay it, on CUDA
};

/// Ancestral sampling (Ho et al. 2020, arXiv 2006.11239, Algorithm 2): each step draws from
/// N(mu, sigma^2 I), mu the mean of q(x_{t-1} | x_t, x0_hat), and the last step takes the mean.
/// With fewer steps than timesteps the chain over the visited ones is used: beta of a step from t
/// to s is 1 - alpha_bar_t / alpha_bar_s (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 19). Throws
/// ValueError for a learned variance from a network that has none.
Tensor sample_ddpm(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                   Rng rng, const DdpmOptions& options = {});

struct DdimOptions {
  std::int64_t steps = 50;
  Spacing spacing = Spacing::even;
  double eta = 0.0;  ///< 0: deterministic; 1: as noisy as DDPM with beta_tilde
  /// Where given, E[eps_hat^2] per element at every timestep of the schedule: the noise of a step is
  /// the best one for its mean (Bao et al. 2022, arXiv 2201.06503, eq. 8), eta = 0 included.
  std::vector<double> mean_squared_eps = {};
  X0Limit limit_x0 = {};  ///< for each estimate of x0; clip_x0 is usual for images
  Observer observer = {};
  bool graph = true;  ///< record a step once and replay it, on CUDA
};

/// Denoising diffusion implicit models (Song et al. 2020, arXiv 2010.02502, eq. 12 and 16). With
/// eta = 0 the generator is not used. Throws ValueError when eta is negative or so large that a
/// step would need more noise than its target has (eta <= 1 always fits).
Tensor sample_ddim(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                   Rng rng, const DdimOptions& options = {});

/// The noise x_T from which sample_ddim(eta = 0) comes back to x_0, up to an error that falls as
/// 1 / steps: the same steps backwards, each with the noise estimated at its start (Song et al.
/// 2020, section 4.3).
Tensor encode_ddim(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x0,
                   std::int64_t steps, bool graph = true, Spacing spacing = Spacing::even);

/// For the samplers of the probability-flow ODE. With x_bar = x_t / sqrt(alpha_bar) and sigma =
/// sqrt((1 - alpha_bar) / alpha_bar), so that x_bar = x_0 + sigma eps, that is d x_bar / d sigma =
/// eps (Karras et al. 2022, arXiv 2206.00364, eq. 1; Song et al. 2020, eq. 14). All are
/// deterministic: they do not use the generator. Their last step, to sigma = 0, ends at the
/// network's estimate of x_0, in which nothing is left to be solved.
struct OdeOptions {
  std::int64_t steps = 20;
  Spacing spacing = Spacing::karras;
  X0Limit limit_x0 = {};
  Observer observer = {};
  bool graph = true;
};

/// Euler's method, of first order: DDIM with eta = 0 in other words.
Tensor sample_euler(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                    Rng rng, const OdeOptions& options = {});

/// DPM-Solver++(2M), of second order with one evaluation of the network per step (Lu et al. 2022,
/// arXiv 2211.01095, Algorithm 2): x_0 is taken to go on as in the step before.
Tensor sample_dpmpp_2m(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                       Rng rng, const OdeOptions& options = {});

/// UniPC-2 (Zhao et al. 2023, arXiv 2302.04867, B(h) = e^h - 1), of third order with one evaluation
/// per step: DPM-Solver++(2M), each of whose steps is corrected when x_0 at its end is known.
Tensor sample_unipc(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                    Rng rng, const OdeOptions& options = {});

struct HeunOptions {
  std::int64_t steps = 18;
  Spacing spacing = Spacing::karras;
  double churn = 0.0;        ///< S_churn: 0 deterministic; up to (sqrt 2 - 1) steps has an effect
  double churn_above = 0.0;  ///< S_min: only where sigma is at least this,
  double churn_below = std::numeric_limits<double>::infinity();  ///< S_max: and at most this
  double churn_noise = 1.0;  ///< S_noise, the standard deviation of what is added
  X0Limit limit_x0 = {};
  Observer observer = {};
  bool graph = true;
};

/// Heun's method, of second order with two evaluations per step but the last: 2 steps - 1 (Karras et
/// al. 2022, Algorithm 2). With churn each step first goes back to more noise, at the timestep
/// nearest to the level of the paper, and is stochastic. Throws ValueError when an option of churn
/// is negative.
Tensor sample_heun(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                   Rng rng, const HeunOptions& options = {});

}  // namespace ito
