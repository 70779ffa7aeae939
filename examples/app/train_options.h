// Everything a training program can be told, with the defaults of its recipe.
//
//   std::optional<TrainOptions> options = parse_train_options(mnist_recipe(), argc, argv);
//   if (!options) return ExitCode::success;          // --help was printed
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "diffusion/denoiser/parametrization.h"
#include "diffusion/models/unet_config.h"
#include "examples/app/run_flags.h"
#include "nn/ema.h"

namespace ito::app {

/// Where timesteps to learn from come from.
enum class TimestepSampling { uniform, importance };
constexpr EnumNames<TimestepSampling, 2> enum_names(TimestepSampling) {
  return {"timestep sampling",
          {{TimestepSampling::uniform, "uniform"}, {TimestepSampling::importance, "importance"}}};
}

struct TrainOptions : RunFlags {
  // What is learnt from.
  std::string dataset;
  std::string data;             ///< folder of the data set; empty: where its package puts it
  std::int64_t image_size = 0;  ///< of synthetic images and of a folder's, pixels
  std::int64_t image_channels = 0;
  bool strict = false;  ///< a folder's unreadable file ends the program
  bool flip = false;    ///< mirror half of the images
  std::int64_t overfit =
      0;  ///< > 0: train on this many images and on the same noise, over and over

  // The process and the network.
  std::string schedule = "linear";
  std::int64_t timesteps = 1000;
  Prediction predict = Prediction::epsilon;
  std::int64_t channels = 0;
  std::vector<std::int64_t> multipliers;
  std::int64_t blocks = 2;
  std::vector<std::int64_t> attention;  ///< sides of the feature maps with attention
  std::int64_t heads = 1;
  std::int64_t groups = 32;
  double dropout = 0;
  bool class_conditional = false;  ///< the network is told the class of each image
  double drop_class = 0.1;         ///< probability that it is not told after all
  EmbeddingMode conditioning = EmbeddingMode::add;

  // The loss.
  std::string loss_weight = "simple";  ///< of a LossWeight, or "bound": the bound itself
  bool learn_variance = false;         ///< of the reverse steps: twice the output channels
  TimestepSampling t_sampling = TimestepSampling::uniform;

  // The optimiser.
  double clip = 1.0;
  double ema = 0.9999;
  nn::EmaWarmup ema_warmup = nn::EmaWarmup::ratio;
  std::int64_t ema_every = 1;

  // The run. Nothing here changes what is learnt.
  double sample_eta = 1.0;
  std::string dtype = "f32";
  bool recompute = false;  ///< blocks are computed again for the gradients, for less memory
  bool profile = false;    ///< say where the time of five steps goes
};

/// Fashion-MNIST on a CPU: a 1.6-million-parameter network that shows garments after minutes.
TrainOptions mnist_recipe();
/// DDPM on CIFAR-10 as published (Ho et al. 2020, appendix B).
TrainOptions cifar10_recipe();

/// Reads the command line over `recipe`; nothing when --help or --version was printed. Throws
/// ProgramError (usage).
std::optional<TrainOptions> parse_train_options(TrainOptions recipe, int argc,
                                                const char* const* argv);

/// The options with their keys (option_list.h), for config.json. dataset, image_size and
/// image_channels are not among those learned: the data set itself says them.
std::vector<OptionRow> rows_of(const TrainOptions& options);

/// What --predict describes: edm is the output of a network that is also given its input scaled to
/// variance 1, as in Karras et al. 2022.
Parametrization parametrization_of(Prediction predict);

/// Throws ValueError when noise is to be predicted by a schedule that leaves nothing of the image.
void expect_signal(const std::string& schedule, std::int64_t timesteps, Prediction predict);

/// The average that --ema, --ema-warmup and --ema-every describe.
nn::EmaDecay ema_decay(const TrainOptions& options);

}  // namespace ito::app
