#include "diffusion/sampling/spacing.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace ito {
namespace {

constexpr Spacing all_spacings[] = {Spacing::even, Spacing::quadratic, Spacing::karras,
                                    Spacing::log_snr};

void expect_steps(std::int64_t timesteps, std::int64_t steps) {
  if (steps < 1 || steps > timesteps) {
    fail<ValueError>("sampler: steps must be between 1 and the schedule's {} timesteps; got {}",
                     timesteps, steps);
  }
}

// The timestep for a share u in [0, 1] of the way from the cleanest to the noisiest.
std::int64_t wanted_timestep(const NoiseSchedule& schedule, double u, Spacing spacing) {
  const std::int64_t last = schedule.timesteps() - 1;
  const double low = std::max(schedule.sigma(0), 0.002),
               high = std::min(schedule.sigma(last), 80.0);
  switch (spacing) {
    case Spacing::even:  // exactly, in whole numbers, below
      break;
    case Spacing::quadratic:
      return static_cast<std::int64_t>(0.8 * static_cast<double>(last + 1) * u * u);
    case Spacing::karras: {
      constexpr double per_rho = 1.0 / 7.0;
      const double root = (1.0 - u) * std::pow(low, per_rho) + u * std::pow(high, per_rho);
      return schedule.nearest_timestep(std::pow(root, 7.0));
    }
    case Spacing::log_snr:
      return schedule.nearest_timestep(low * std::pow(high / low, u));
  }
  return 0;
}

}  // namespace

const char* name_of(Spacing spacing) {
  switch (spacing) {
    case Spacing::even:
      return "even";
    case Spacing::quadratic:
      return "quadratic";
    case Spacing::karras:
      return "karras";
    case Spacing::log_snr:
      return "log-snr";
  }
  return "?";
}

Spacing spacing_from_name(const std::string& name) {
  for (const Spacing spacing : all_spacings) {
    if (name == name_of(spacing)) return spacing;
  }
  fail<ValueError>("spacing: must be even, quadratic, karras or log-snr; got \"{}\"", name);
}

std::vector<std::int64_t> visited_timesteps(const NoiseSchedule& schedule, std::int64_t steps,
                                            Spacing spacing) {
  if (spacing == Spacing::even) return evenly_spaced_timesteps(schedule.timesteps(), steps);
  expect_steps(schedule.timesteps(), steps);
  if (steps == 1) return {wanted_timestep(schedule, 1.0, spacing)};
  std::vector<std::int64_t> visited;
  std::int64_t lowest = 0;
  for (std::int64_t i = 0; i < steps; ++i) {
    const double u = static_cast<double>(i) / static_cast<double>(steps - 1);
    visited.push_back(std::max(wanted_timestep(schedule, u, spacing), lowest));
    lowest = visited.back() + 1;
  }
  // What was moved on may have gone over the end.
  std::int64_t highest = schedule.timesteps() - 1;
  for (auto t = visited.rbegin(); t != visited.rend(); ++t) {
    *t = std::min(*t, highest);
    highest = *t - 1;
  }
  return visited;
}

std::vector<std::int64_t> evenly_spaced_timesteps(std::int64_t timesteps, std::int64_t steps) {
  expect_steps(timesteps, steps);
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
