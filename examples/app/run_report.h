// Gathers report.html of a run from what lies in its directory.
#pragma once

#include <string>

#include "data/dataset.h"
#include "diffusion/process/schedule.h"
#include "examples/app/run_directory.h"
#include "examples/app/train_options.h"
#include "nn/flat.h"

namespace ito::app {

/// Writes report.html. `status` is its first line, for example "finished at step 4000". Throws
/// IoError.
void write_run_report(const RunDirectory& directory, const std::string& status,
                      const TrainOptions& options, const data::Dataset& dataset,
                      const NoiseSchedule& schedule, const nn::FlatParameters& flat);

}  // namespace ito::app
