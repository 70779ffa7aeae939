#include "examples/app/codec_model.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "examples/app/exit_codes.h"

namespace ito::app {
namespace {

// (T - 1) (i / (steps - 1))^3, to the nearest and all different; T - 1 for one step.
std::vector<std::int64_t> cubic_timesteps(std::int64_t T, std::int64_t steps) {
  std::vector<std::int64_t> visited;
  for (std::int64_t i = 0; i < steps; ++i) {
    const double share = steps == 1 ? 1.0 : static_cast<double>(i) / static_cast<double>(steps - 1);
    const auto t = std::llround(static_cast<double>(T - 1) * share * share * share);
    const std::int64_t least = visited.empty() ? 0 : visited.back() + 1;
    visited.push_back(std::clamp<std::int64_t>(t, least, T - steps + i));
  }
  return visited;
}

}  // namespace

NoiseSchedule schedule_to_send(const Model& model, std::int64_t steps) {
  const NoiseSchedule schedule = model.schedule();
  if (steps > schedule.timesteps()) {
    stop(ExitCode::usage, "--steps must be at most {}, the timesteps of this model; got {}",
         schedule.timesteps(), steps);
  }
  return schedule.respaced(cubic_timesteps(schedule.timesteps(), steps));
}

std::uint64_t fingerprint_number(const Model& model) {
  return std::strtoull(model.fingerprint.c_str(), nullptr, 16);
}

}  // namespace ito::app
