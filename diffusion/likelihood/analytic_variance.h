// Analytic-DPM: the best variance of each reverse step, from one number per timestep that is
// estimated once (Bao et al. 2022, arXiv 2201.06503). reverse_variance.h has the formulas.
//
//   const std::vector<Level> levels = sampling_levels(schedule, 25, Spacing::even);
//   const std::vector<double> m = explained_noise(model, images, levels, rng);      // once
//   const Tensor x0 = sample_ddpm(model, x_T, levels, rng,
//                                 {.variance = ReverseVariance::analytic, .mean_squared_eps = m});
//
// How much of the noise a network can see tells how well it knows x_0. For the best network
// E[eps_hat^2] and 1 - E[(eps - eps_hat)^2] are one number, 1 where x_t gives eps away and less
// where eps could be many things. They are two ways to estimate it.
#pragma once

#include <span>
#include <vector>

#include "diffusion/denoiser/parametrization.h"
#include "tensor/rng.h"

namespace ito {

/// E[eps_hat(x_t)^2] per element at each of the noisy `levels` (a clean one is passed over), over
/// images x0 [N, ...] with one draw of noise each: the estimate of the paper. It needs a few
/// thousand images, and says nothing where x_t keeps little of x_0: how far it is from 1 is then
/// less than its own noise. One call of the network per level. The noise at levels[i] is drawn at
/// step i + 1 of `rng`, for image k as sample rng.first_sample() + k, so that batches can be
/// averaged.
std::vector<double> mean_squared_eps(const Denoiser& model, const Tensor& x0,
                                     std::span<const Level> levels, Rng rng);

/// 1 - E[(eps - eps_hat)^2], estimated in the same way. Steady at every timestep, never above 1,
/// and for a network that is not the best one still gives the variance with the least bound (Bao et
/// al. 2022, arXiv 2206.07309): prefer it.
std::vector<double> explained_noise(const Denoiser& model, const Tensor& x0,
                                    std::span<const Level> levels, Rng rng);

/// The last step of a sampler that adds noise should add none that is seen: the largest variance
/// with which noise changes a pixel by less than two of its 256 levels on average (Bao et al. 2022,
/// appendix A.5), (2 * 2/255 * sqrt(pi / 2))^2.
double max_variance_of_last_noise();

}  // namespace ito
