// Analytic-DPM: the best variance of each reverse step, from one number per timestep that is
// estimated once (Bao et al. 2022, arXiv 2201.06503). reverse_variance.h has the formulas.
//
//   const std::vector<double> m = mean_squared_eps(process, model, images, rng);     // once
//   const double sigma2 = reverse_variance(schedule, t, s, ReverseVariance::analytic, m[t]);
//   VariationalBound bound(process, {.variance = ReverseVariance::analytic, .mean_squared_eps = m});
//
// How much of the noise a network can see tells how well it knows x_0: E[eps_hat^2] is 1 where x_t
// gives x_0 away, and less where eps could be many things.
#pragma once

#include <cstdint>
#include <vector>

#include "diffusion/gaussian_diffusion.h"
#include "tensor/rng.h"

namespace ito {

/// E[eps_hat(x_t, t)^2] per element at every timestep, [T], over images x0 [N, ...] with one draw of
/// noise each: a few thousand images are enough. One call of the network per timestep; for a chain
/// over few timesteps pass that chain (respaced.h). The noise of timestep t is drawn at step t + 1
/// of `rng`, for image i as sample rng.first_sample() + i, so that batches can be averaged.
std::vector<double> mean_squared_eps(const GaussianDiffusion& process, const Denoiser& model,
                                     const Tensor& x0, Rng rng);

/// The last step of a sampler that adds noise should add none that is seen: the largest variance
/// with which noise changes a pixel by less than two of its 256 levels on average (Bao et al. 2022,
/// appendix A.5), (2 * 2/255 * sqrt(pi / 2))^2.
double most_variance_of_last_noise();

}  // namespace ito
