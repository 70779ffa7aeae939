// A trained model as compress and decompress use it: over the few timesteps that are sent.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "examples/app/model_file.h"

namespace ito::app {

struct CodecModel {
  LoadedModel loaded;
  GaussianDiffusion process;  ///< over the timesteps that are sent
  Denoiser denoiser;          ///< for those: asked at t it gives the network t-th of them
  std::uint64_t fingerprint;  ///< of the weights
};

/// The model over codec::timesteps_to_send(its timesteps, steps). Throws ProgramError (usage) when
/// the model has fewer.
CodecModel over_sent_timesteps(LoadedModel loaded, std::int64_t steps, Device device);

}  // namespace ito::app
