// A trained model as compress and decompress use it.
#pragma once

#include <cstdint>

#include "diffusion/models/model_file.h"

namespace ito::app {

/// The chain over the `steps` timesteps that are sent: cubes, from 0 to T - 1, since there are most
/// bits where there is little noise. Throws ProgramError (usage) when the model has fewer.
NoiseSchedule schedule_to_send(const Model& model, std::int64_t steps);

/// The fingerprint of the weights as codec::Container holds it.
std::uint64_t fingerprint_number(const Model& model);

}  // namespace ito::app
