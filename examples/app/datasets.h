// The data set that a training program was asked for.
#pragma once

#include "data/dataset.h"
#include "diffusion/models/unet_config.h"
#include "examples/app/train_options.h"

namespace ito::app {

/// Loads the set, and cuts it to `--overfit` images. Throws ProgramError: bad_data with the command
/// that gets a missing set, usage when the images cannot be used with these flags.
data::Dataset load_dataset(const TrainOptions& options);

/// One split of the set `name` ("fashion-mnist", "mnist", "cifar10" or "synthetic": 28 x 28 grey
/// shapes), from `folder`, or when that is empty from where its package or scripts/get_data.sh puts
/// it. Throws ProgramError (bad_data).
data::Dataset load_split(const std::string& name, const std::string& folder, data::Split split);

/// How many classes the labels have. Throws ProgramError (usage) without labels.
std::int64_t class_count(const data::Dataset& dataset);

/// The network for these images: channels and size from the set, the rest from the flags. Throws
/// ProgramError (usage) when they do not fit together.
UNetConfig network_config(const TrainOptions& options, const data::Dataset& dataset);

}  // namespace ito::app
