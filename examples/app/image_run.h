// What a training run of images is, for app::ProgramRun: its configuration as JSON, what must agree
// when it is continued, its grids of samples and its report.
#pragma once

#include "data/dataset.h"
#include "diffusion/denoiser/condition.h"
#include "diffusion/models/model_file.h"
#include "examples/app/program_run.h"
#include "examples/app/train_options.h"
#include "examples/app/training_loss.h"

namespace ito::app {

ModelCard model_card(const TrainOptions& options, const UNetConfig& network,
                     const data::Dataset& dataset);

training::RunOptions image_run_options(const TrainOptions& options, const data::Dataset& dataset,
                                       const ModelCard& card);

/// `model` computes with the weights that `ema` averages, without dropout; it gets labels where the
/// network knows classes. All arguments must outlive the description.
RunDescription describe(const TrainOptions& options, const data::Dataset& dataset,
                        const ModelCard& card, ConditionalNetwork model, const nn::Ema& ema,
                        Device device);

}  // namespace ito::app
