// The weights in a folder of diffusers, whichever of its files they are in.
//
//   const nn::SafeTensors file = load_diffusers_weights("ddpm-cifar10-32/unet");
//
// One of: diffusion_pytorch_model.safetensors, its shards with an index (.safetensors.index.json),
// or either in a variant (fp16, bf16; the plain one goes first).
#pragma once

#include <filesystem>

#include "nn/safetensors.h"

namespace ito {

/// All tensors, with diffusers' names and layouts. The prefix of a wrapped model (`module.`,
/// `_orig_mod.`, `unet.`, ...) is taken off. `file` of the result is the file or the index. Throws
/// IoError where there is none, FormatError for a damaged index, for a file beside an index (one
/// of them is of another model) and for the weights of several models in one file.
nn::SafeTensors load_diffusers_weights(const std::filesystem::path& folder);

/// Takes off what stands before `conv_in.weight`, from all names that begin with it.
void strip_wrapper_prefix(nn::SafeTensors& file);

}  // namespace ito
