// Which timesteps a sampler with fewer steps than the schedule visits.
#pragma once

#include <cstdint>
#include <vector>

namespace ito {

/// The timesteps that a sampler of `steps` steps visits, rising: 0 and T - 1 are always among them
/// (T - 1 alone for one step), the others lie evenly between, rounded to the nearest; steps = T
/// gives all. Throws ValueError unless 1 <= steps <= timesteps.
std::vector<std::int64_t> evenly_spaced_timesteps(std::int64_t timesteps, std::int64_t steps);

}  // namespace ito
