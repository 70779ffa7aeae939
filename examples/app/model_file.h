// Trained networks in files: what stands beside the weights, and getting a network back from it.
//
//   const LoadedModel loaded = load_model("out/run", Weights::average);
//   sample_ddim(loaded.process(), loaded.denoiser(), x_T, rng);
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "diffusion/denoiser/gaussian_diffusion.h"
#include "diffusion/denoiser/guidance.h"
#include "diffusion/models/unet.h"

namespace ito::app {

/// Everything a sampler must know of a model besides its weights. Stands in the metadata of
/// model.safetensors and ema.safetensors under "config".
struct ModelCard {
  UNetConfig network;
  std::string schedule = "linear";
  std::int64_t timesteps = 1000;
  std::string predict = "epsilon";
  std::string dataset;
  std::vector<std::string> class_names;  ///< of the data set by label, or none

  std::string to_json() const;
  /// Without "class_names" there are none. Throws FormatError, naming `file`.
  static ModelCard from_json(const std::string& text, const std::string& file);
};

enum class Weights { average, raw };  ///< of ema.safetensors or of model.safetensors

struct LoadedModel {
  ModelCard card;
  std::unique_ptr<UNet> network;
  std::int64_t step = 0;    ///< training steps made
  std::string fingerprint;  ///< of the weights
  std::string source;       ///< the file they came from
  std::string weights;      ///< "ema" or "raw"

  GaussianDiffusion process() const;
  /// Of a network that knows classes: for no class in particular.
  Denoiser denoiser() const;
  /// For the classes asked for. Throws ProgramError (usage) for a network that knows none.
  LabelledDenoiser labelled_denoiser() const;
};

/// `path`: a run directory, a checkpoint directory (the one that `latest` names when it holds
/// several), or a safetensors file made by ito. The network lives on `device` and computes in
/// `dtype`, f32 or bf16 (bf16 on a device other than the CPU). Throws ProgramError (checkpoint).
LoadedModel load_model(const std::string& path, Weights weights, Device device = Device::cpu(),
                       DType dtype = DType::f32);

}  // namespace ito::app
