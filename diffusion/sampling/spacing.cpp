#include "diffusion/sampling/spacing.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace ito {
namespace {

void expect_steps(std::int64_t timesteps, std::int64_t steps) {
  if (steps < 1 || steps > timesteps) {
    fail<ValueError>("sampler: steps must be between 1 and the schedule's {} timesteps; got {}",
                     timesteps, steps);
  }
}

// The sigma / alpha at a share u of the way from `low` to `high`.
double target_noise(double low, double high, double u, Spacing spacing) {
  if (spacing == Spacing::log_snr) return low * std::pow(high / low, u);
  constexpr double per_rho = 1.0 / 7.0;
  return std::pow((1.0 - u) * std::pow(low, per_rho) + u * std::pow(high, per_rho), 7.0);
}

double share(std::int64_t i, std::int64_t steps) {
  return steps == 1 ? 1.0 : static_cast<double>(i) / static_cast<double>(steps - 1);
}

}  // namespace

std::vector<Level> sampling_levels(const NoiseSchedule& schedule,
                                   const std::vector<std::int64_t>& visited) {
  std::vector<Level> levels;
  for (auto t = visited.rbegin(); t != visited.rend(); ++t) levels.push_back(schedule.level(*t));
  levels.push_back(Level::clean());
  return levels;
}

std::vector<Level> sampling_levels(const NoiseSchedule& schedule, std::int64_t steps,
                                   Spacing spacing, std::int64_t offset) {
  const std::int64_t T = schedule.timesteps();
  if (spacing != Spacing::karras && spacing != Spacing::log_snr) {
    return sampling_levels(schedule, visited_timesteps(T, steps, spacing, offset));
  }
  expect_steps(T, steps);
  const double first = schedule.level(0).noise_to_signal();
  const double last = schedule.level(T - 1).noise_to_signal();
  double low = std::max(first, 0.002), high = std::min(last, 80.0);
  if (low >= high) low = first, high = last;  // none of the usual levels: all of its own
  std::vector<Level> levels;
  for (std::int64_t i = steps - 1; i >= 0; --i) {
    levels.push_back(schedule.level_at(target_noise(low, high, share(i, steps), spacing)));
  }
  levels.push_back(Level::clean());
  return levels;
}

std::vector<Level> sampling_levels(const Path& path, std::int64_t steps, Spacing spacing) {
  if (steps < 1) fail<ValueError>("sampler: steps must be at least 1; got {}", steps);
  if (spacing == Spacing::leading || spacing == Spacing::trailing) {
    fail<ValueError>("sampler: {} spacing is of timesteps, which a path has not", name_of(spacing));
  }
  const double first = path.min_time(), last = path.max_time();
  const double low = path.level(first).noise_to_signal(), high = path.level(last).noise_to_signal();
  std::vector<Level> levels;
  for (std::int64_t i = steps - 1; i >= 0; --i) {
    const double u = share(i, steps);
    const bool by_time = spacing == Spacing::even || spacing == Spacing::quadratic;
    const double of_time = spacing == Spacing::quadratic ? u * u : u;
    levels.push_back(by_time ? path.level(first + of_time * (last - first))
                     : i == steps - 1
                         ? path.level(last)
                         : path.level_at(target_noise(low, std::min(high, 80.0), u, spacing)));
  }
  levels.push_back(Level::clean());
  return levels;
}

std::vector<std::int64_t> visited_timesteps(std::int64_t timesteps, std::int64_t steps,
                                            Spacing spacing, std::int64_t offset) {
  if (spacing == Spacing::karras || spacing == Spacing::log_snr) {
    fail<ValueError>("visited_timesteps: {} lies between timesteps; see sampling_levels",
                     name_of(spacing));
  }
  expect_steps(timesteps, steps);
  if (steps == 1 && spacing != Spacing::leading) {
    return {spacing == Spacing::quadratic
                ? static_cast<std::int64_t>(0.8 * static_cast<double>(timesteps))
                : timesteps - 1};
  }
  const std::int64_t gaps = steps - 1;
  const auto wanted = [&](std::int64_t i) {
    switch (spacing) {
      case Spacing::leading:
        return i * (timesteps / steps) + offset;
      case Spacing::trailing: {  // to the nearest, halves to even
        const double T = static_cast<double>(timesteps), gap = T / static_cast<double>(steps);
        return static_cast<std::int64_t>(std::nearbyint(T - static_cast<double>(gaps - i) * gap)) -
               1;
      }
      case Spacing::quadratic: {
        const double u = share(i, steps);
        return static_cast<std::int64_t>(0.8 * static_cast<double>(timesteps) * u * u);
      }
      default:
        return (2 * i * (timesteps - 1) + gaps) / (2 * gaps);  // to the nearest
    }
  };
  if (spacing == Spacing::leading && (offset < 0 || wanted(gaps) >= timesteps)) {
    fail<ValueError>("sampler: {} steps of leading spacing with offset {} go to timestep {} of {}",
                     steps, offset, wanted(gaps), timesteps);
  }
  std::vector<std::int64_t> visited;
  for (std::int64_t i = 0; i < steps; ++i) {
    visited.push_back(visited.empty() ? wanted(i) : std::max(wanted(i), visited.back() + 1));
  }
  // What was moved on may have gone over the end.
  std::int64_t highest = timesteps - 1;
  for (auto t = visited.rbegin(); t != visited.rend(); ++t) {
    *t = std::min(*t, highest);
    highest = *t - 1;
  }
  return visited;
}

}  // namespace ito
