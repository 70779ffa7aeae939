#include "nn/fingerprint.h"

#include <fmt/format.h>

#include <cstdint>

namespace ito::nn {

std::string fingerprint(const void* data, std::size_t bytes) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto* p = static_cast<const unsigned char*>(data);
  for (std::size_t i = 0; i < bytes; ++i) hash = (hash ^ p[i]) * 0x100000001b3u;
  return fmt::format("{:016x}", hash);
}

std::string fingerprint(const SafeTensors& file) {
  std::string all;
  for (const auto& [name, tensor] : file.tensors) {
    all += name + fingerprint(tensor.raw(), tensor.bytes());
  }
  return fingerprint(all.data(), all.size());
}

}  // namespace ito::nn
