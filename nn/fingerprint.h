// Fingerprints tell files and configurations apart. Not cryptographic.
//
//   const nn::SafeTensors file = nn::load_safetensors("model.safetensors");
//   const std::string id = nn::fingerprint(file);                 // "85944171f73967e8"
#pragma once

#include <cstddef>
#include <string>

#include "nn/safetensors.h"

namespace ito::nn {

/// FNV-1a, 64 bits, as 16 hexadecimal digits.
std::string fingerprint(const void* data, std::size_t bytes);
/// The same of all names and tensors of a file.
std::string fingerprint(const SafeTensors& file);

}  // namespace ito::nn
