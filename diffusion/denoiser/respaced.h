// The chain over some of the timesteps, as a process and a network of its own (Nichol & Dhariwal
// 2021, arXiv 2102.09672, section 4).
//
//   const Respaced fewer = respaced(process, model, evenly_spaced_timesteps(1000, 50));
//   VariationalBound(fewer.process, {}).evaluate(fewer.model, x0, rng);    // of the 50 steps
//
// Step i of the new process is at the noise of timestep visited[i] of the old one, and the new
// network asks the old one there. Whatever is written for a whole chain holds for this one.
#pragma once

#include <cstdint>
#include <vector>

#include "diffusion/denoiser/gaussian_diffusion.h"

namespace ito {

struct Respaced {
  GaussianDiffusion process;
  Denoiser model;
};

/// `visited` rises within [0, T); see NoiseSchedule::respaced. Throws ValueError.
Respaced respaced(const GaussianDiffusion& process, Denoiser model,
                  const std::vector<std::int64_t>& visited, Device device = Device::cpu());

}  // namespace ito
