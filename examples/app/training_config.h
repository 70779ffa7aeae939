// The configuration of a training run as JSON, and what of it must agree when a run is continued.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"
#include "diffusion/models/model_file.h"
#include "examples/app/train_options.h"

namespace ito::app {

/// What decides the bits that are learnt: data (with a fingerprint of the images), process,
/// network, optimiser and seed. Not how long, where, with how many threads. One line; stands in
/// state.json.
std::string learning_json(const TrainOptions& options, const data::Dataset& dataset);

/// config.json: the above and the rest, indented.
std::string config_json(const TrainOptions& options, const data::Dataset& dataset,
                        const std::string& learning);

ModelCard model_card(const TrainOptions& options, const UNetConfig& network,
                     const data::Dataset& dataset);

}  // namespace ito::app
