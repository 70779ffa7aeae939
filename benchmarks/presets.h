// The networks that the benchmarks run by name.
#pragma once

#include <string>

#include "diffusion/models/unet_config.h"

namespace ito::bench {

/// mnist, cifar10, or tiny: a network only to see that a program runs.
inline UNetConfig unet_config(const std::string& preset) {
  if (preset == "cifar10") return UNetConfig::cifar10();
  UNetConfig config = UNetConfig::mnist();
  if (preset == "tiny") {
    config.image_size = 8;
    config.base_channels = 8;
    config.channel_multipliers = {1, 2};
    config.blocks_per_level = 1;
    config.attention_resolutions = {4};
    config.norm_groups = 4;
  }
  return config;
}

}  // namespace ito::bench
