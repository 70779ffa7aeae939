// Trained networks in files: what stands beside the weights, and getting a model back.
//
//   const Model model = load_model("out/fashion");
//   Rng rng(0, Purpose::sample);
//   const Tensor x_T = randn(rng, model.image_shape(64));
//   const Tensor x0 = sample_ddim(thresholded(model.denoiser(), clip_x0), x_T,
//                                 sampling_levels(model.schedule(), 50, Spacing::even), rng);
//
// A folder that train_mnist wrote, a checkpoint in it, one safetensors file, or a folder in
// diffusers' format: all are models.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "diffusion/denoiser/condition.h"
#include "diffusion/denoiser/parametrization.h"
#include "diffusion/models/unet.h"
#include "diffusion/process/schedule.h"
#include "tensor/tensor.h"

namespace ito {

/// How a model wants to be sampled where nobody says otherwise: one of ito's own as here, a
/// converted one as its scheduler says.
struct SamplingDefaults {
  double clip = 1.0;           ///< estimates of x_0 are clamped to [-clip, clip]; 0: they are not
  double threshold = 0.0;      ///< quantile of dynamic thresholding in the place of that; 0: none
  double max_threshold = 1.0;  ///< and its bound (dynamic_threshold)
  std::string spacing = "usual";  ///< a name of Spacing, or what suits the sampler
  std::int64_t steps_offset = 0;  ///< added to timesteps of leading spacing
  std::string variance = "beta";  ///< of ddpm: beta, beta-tilde or learned

  friend bool operator==(const SamplingDefaults&, const SamplingDefaults&) = default;
};

/// Everything a sampler must know of a model besides its weights. Stands in the metadata of
/// model.safetensors and ema.safetensors under "config".
struct ModelCard {
  UNetConfig network;
  std::string schedule = "linear";  ///< of NoiseSchedule::names(), or "custom"
  std::int64_t timesteps = 1000;
  std::vector<double> betas;  ///< of a custom schedule, one for each timestep
  Parametrization parametrization;
  std::string dataset;
  std::vector<std::string> class_names;  ///< of the data set by label, or none
  SamplingDefaults sampling = {};
  /// Whether the last row of the network's table of classes stands for any class. The tables of
  /// others may be of classes alone: all can be drawn, but there is no guidance.
  bool null_class = true;

  /// Throws ValueError where schedule, timesteps and betas do not go together.
  NoiseSchedule noise_schedule() const;

  std::string to_json() const;
  /// Keys that older files lack have the values that were usual then. Throws FormatError, naming
  /// `file`.
  static ModelCard from_json(const std::string& text, const std::string& file);
};

enum class Weights { average, raw };  ///< of ema.safetensors or of model.safetensors

struct Model {
  ModelCard card;
  std::shared_ptr<UNet> network;
  std::int64_t step = 0;    ///< training steps made
  std::string fingerprint;  ///< of the weights
  std::string source;       ///< the file they came from
  std::string weights;      ///< "ema", "raw" or "converted"

  NoiseSchedule schedule() const { return card.noise_schedule(); }
  bool learns_variance() const { return card.network.out_channels > card.network.in_channels; }
  /// Classes that can be asked for.
  std::int64_t classes() const;
  /// Of n images: [n, H, W, C].
  Shape image_shape(std::int64_t n) const;

  /// For any of a network's classes. All of these keep the network alive.
  Denoiser denoiser() const { return denoiser(Condition{}); }
  /// Throws ValueError for labels when the network knows none, and for none when it knows only
  /// classes.
  Denoiser denoiser(const Condition& condition) const;
  /// With classifier-free guidance towards the condition's labels (guidance.h). Throws ValueError
  /// for a scale other than 1 without labels or without a null class.
  Denoiser denoiser(const Condition& condition, double guidance_scale) const;
};

/// `path`: a run directory, a checkpoint directory (the one that `latest` names when it holds
/// several), a safetensors file made by ito, or a folder in diffusers' format. The network lives on
/// `device` and computes in `dtype`, f32 or bf16 (bf16 on a device other than the CPU). Throws
/// IoError; FormatError, also for a weight that is not finite.
Model load_model(const std::string& path, Weights weights = Weights::average,
                 Device device = Device::cpu(), DType dtype = DType::f32);

}  // namespace ito
