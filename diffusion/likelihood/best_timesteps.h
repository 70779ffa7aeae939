// Which timesteps a chain of few steps should visit: those with the least variational bound, found
// by dynamic programming (Watson et al. 2021, arXiv 2106.03802; with the analytic variance Bao et
// al. 2022, arXiv 2201.06503, section 5).
//
//   const std::vector<double> m = explained_noise(model, images, schedule.levels(), rng);  // once
//   const std::vector<std::int64_t> visited = best_timesteps(schedule, m, 25);
//   sample_ddpm(model, x_T, sampling_levels(schedule, visited), rng);
//
// With the best variance sigma^2 the expected term of a step from t to s is log(sigma^2 /
// beta_tilde) / 2 per element: a cost for each pair of timesteps, which add up along a chain. That
// is the likelihood's choice; images may look better with another (spacing.h).
#pragma once

#include <cstdint>
#include <vector>

#include "diffusion/process/schedule.h"

namespace ito {

/// The `steps` timesteps, rising, 0 and T - 1 among them, whose chain has the least bound.
/// `mean_squared_eps` is [T], one of the estimates of analytic_variance.h. Throws ValueError unless
/// 2 <= steps <= T, and when the numbers are not one per timestep. Work: steps T^2 / 2.
std::vector<std::int64_t> best_timesteps(const NoiseSchedule& schedule,
                                         const std::vector<double>& mean_squared_eps,
                                         std::int64_t steps);

/// What best_timesteps makes least: the terms of the chain over `visited` in nats per element,
/// those of the prior and the decoder left out, which all chains from T - 1 to 0 share.
double cost_of_timesteps(const NoiseSchedule& schedule, const std::vector<double>& mean_squared_eps,
                         const std::vector<std::int64_t>& visited);

}  // namespace ito
