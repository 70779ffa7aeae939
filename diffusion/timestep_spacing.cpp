#include "diffusion/timestep_spacing.h"

#include "tensor/error.h"

namespace ito {

std::vector<std::int64_t> evenly_spaced_timesteps(std::int64_t timesteps, std::int64_t steps) {
  if (steps < 1 || steps > timesteps) {
    fail<ValueError>("sampler: steps must be between 1 and the schedule's {} timesteps; got {}",
                     timesteps, steps);
  }
  if (steps == 1) return {timesteps - 1};
  std::vector<std::int64_t> visited;
  visited.reserve(static_cast<std::size_t>(steps));
  const std::int64_t gaps = steps - 1;
  for (std::int64_t i = 0; i < steps; ++i) {
    visited.push_back((2 * i * (timesteps - 1) + gaps) / (2 * gaps));  // rounds to the nearest
  }
  return visited;
}

}  // namespace ito
