// Which timesteps a sampler with fewer steps than the schedule visits.
//
//   visited_timesteps(NoiseSchedule::linear(), 5, Spacing::even);        // 0, 250, 500, 749, 999
//   visited_timesteps(NoiseSchedule::linear(), 5, Spacing::quadratic);   // 0, 50, 200, 450, 800
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "diffusion/process/schedule.h"

namespace ito {

/// even        from 0 to T - 1 in equal steps
/// quadratic   squares, from 0 to 0.8 T (Song et al. 2020, arXiv 2010.02502, appendix D.2): a sampler
///             starts there, with its x_T
/// karras      sigma^(1/7) in equal steps (Karras et al. 2022, arXiv 2206.00364, eq. 5)
/// log_snr     log sigma in equal steps (Lu et al. 2022, arXiv 2206.00927, section 3.3)
///
/// The last two go over the levels of Karras et al., 0.002 to 80, as far as the schedule has them.
/// Beyond 80, where the cosine schedule goes on to 2e4, there is nothing to see of an image.
enum class Spacing { even, quadratic, karras, log_snr };

/// "even", "quadratic", "karras", "log-snr".
const char* name_of(Spacing spacing);
/// Throws ValueError on another name.
Spacing spacing_from_name(const std::string& name);

/// The timesteps that a sampler of `steps` steps visits, rising, each once: those wanted, rounded to
/// the nearest (quadratic: down), and moved on where two would be one. steps = T gives all; one step
/// goes from the highest. Throws ValueError unless 1 <= steps <= T.
std::vector<std::int64_t> visited_timesteps(const NoiseSchedule& schedule, std::int64_t steps,
                                            Spacing spacing);

/// visited_timesteps with Spacing::even, for a schedule of `timesteps`: 0 and T - 1 are always among
/// them (T - 1 alone for one step).
std::vector<std::int64_t> evenly_spaced_timesteps(std::int64_t timesteps, std::int64_t steps);

}  // namespace ito
