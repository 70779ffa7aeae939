// Networks as diffusers keeps them: a folder that its DDPMPipeline.from_pretrained reads.
//
//   model_index.json
//   unet/config.json                                  the shape of a UNet2DModel
//   unet/diffusion_pytorch_model.safetensors          names as ito's, convolutions [O, I, kh, kw]
//   scheduler/scheduler_config.json                   the process: betas, what is predicted
//
//   const Model model = load_model("out/run");
//   save_diffusers("out/diffusers", model.card, nn::named_parameters(*model.network));
//   const DiffusersModel back = load_diffusers("out/diffusers");
//
// Classes: ito's null class is the last row of diffusers' class embedding. A learned variance is
// the second half of the output channels in both.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "diffusion/models/model_file.h"
#include "nn/module.h"

namespace ito {

struct DiffusersModel {
  ModelCard card;
  std::vector<nn::NamedTensor> tensors;  ///< in ito's names and layouts, f32
  std::string source;                    ///< the file they came from
  std::vector<std::string> notices;      ///< what was assumed, and what is not used
};

/// Writes the folder; a network with diffusers' names for its tensors. Throws ValueError for a
/// network that a UNet2DModel cannot be, IoError.
void save_diffusers(const std::filesystem::path& folder, const ModelCard& card,
                    const std::vector<nn::NamedTensor>& parameters);

/// Whether a folder looks like one of these: a pipeline, or a configuration beside weights.
bool is_diffusers_folder(const std::filesystem::path& folder);

/// Reads such a folder. The files may also lie in `folder` itself, without subfolders, as in older
/// hubs, and the scheduler beside it; attention tensors may have their older names (query, key,
/// value, proj_attn); without a scheduler the process is DDPM's. `dataset` of the card is the
/// folder's name where the file says nothing else. Throws IoError, FormatError: what is missing, or
/// what ito's U-Net cannot be.
DiffusersModel load_diffusers(const std::filesystem::path& folder);

/// The parts, for tests. Texts are JSON; `file` stands in messages.
std::string diffusers_unet_config(const UNetConfig& network);
UNetConfig unet_of_diffusers(const std::string& text, const std::string& file);
/// The name that ito has for a tensor of diffusers, old or new.
std::string name_of_diffusers(std::string name);

}  // namespace ito
