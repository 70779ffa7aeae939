// The data set that a training program was asked for.
#pragma once

#include "data/dataset.h"
#include "diffusion/models/unet_config.h"
#include "examples/app/train_options.h"

namespace ito::app {

/// Loads the set, and cuts it to `--overfit` images. Throws ProgramError: bad_data with the command
/// that gets a missing set, usage when the images cannot be used with these flags.
data::Dataset load_dataset(const TrainOptions& options);

/// The network for these images: channels and size from the set, the rest from the flags. Throws
/// ProgramError (usage) when they do not fit together.
UNetConfig network_config(const TrainOptions& options, const data::Dataset& dataset);

}  // namespace ito::app
