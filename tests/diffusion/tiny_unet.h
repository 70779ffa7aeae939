// A U-Net of every kind of block, small enough for finite differences and for the emulated device.
#pragma once

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"
#include "diffusion/models/unet.h"
#include "nn/module.h"
#include "tests/compare.h"

namespace ito::test {

inline UNet make_unet(const UNetConfig& config, std::uint64_t seed = 1) {
  Rng init(seed, Purpose::init);
  return UNet(config, init);
}

// Small enough for finite differences, with every kind of block in it.
inline UNetConfig tiny_config() {
  UNetConfig c;
  c.image_size = 6;
  c.in_channels = 2;
  c.out_channels = 3;
  c.base_channels = 4;
  c.channel_multipliers = {1, 2};
  c.blocks_per_level = 1;
  c.attention_resolutions = {3};
  c.heads = 2;
  c.norm_groups = 2;
  return c;
}

// Adds noise to every parameter, so that nothing is hidden by a zero.
inline void randomize(UNet& unet, double scale) {
  Rng rng(5, Purpose::test);
  nn::for_each_parameter(unet, [&](const std::string&, Tensor& p) {
    p = parameter(detach(p) + scale * randn(rng, p.shape(), p.dtype()));
  });
}

inline Tensor timesteps(const std::vector<std::int64_t>& t) {
  return Tensor::from(t, {static_cast<std::int64_t>(t.size())});
}

}  // namespace ito::test
