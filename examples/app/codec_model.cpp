#include "examples/app/codec_model.h"

#include <cstdlib>

#include "diffusion/timestep_spacing.h"
#include "examples/app/exit_codes.h"

namespace ito::app {

Respaced over_sent_timesteps(const LoadedModel& model, std::int64_t steps, Device device) {
  const GaussianDiffusion process = model.process();
  if (steps > process.schedule.timesteps()) {
    stop(ExitCode::usage, "--steps must be at most {}, the timesteps of this model; got {}",
         process.schedule.timesteps(), steps);
  }
  return respaced(process, model.denoiser(),
                  visited_timesteps(process.schedule, steps, Spacing::log_snr), device);
}

std::uint64_t fingerprint_number(const LoadedModel& model) {
  return std::strtoull(model.fingerprint.c_str(), nullptr, 16);
}

}  // namespace ito::app
