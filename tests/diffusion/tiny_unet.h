// A U-Net of every kind of block, small enough for finite differences and for the emulated device.
#pragma once

#include <cmath>
#include <functional>
#include <vector>

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

/// Of each input's gradient, in f64: |got - wanted| / (1 + |wanted|) of the derivative of `loss`
/// along a random direction, wanted from central differences. One number sees all elements of a
/// tensor.
inline std::vector<double> gradient_errors(const std::function<Tensor()>& loss,
                                           const std::vector<Tensor>& inputs) {
  const std::vector<Tensor> gradients = grad(loss(), inputs);
  Rng rng(8, Purpose::test);
  const double h = 1e-5;
  std::vector<double> errors;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    Tensor p = inputs[i];
    const NoGrad no_grad;
    const Tensor direction = randn(rng, p.shape(), DType::f64), start = p.clone();
    p.assign(start + h * direction);
    const double above = loss().item();
    p.assign(start - h * direction);
    const double below = loss().item();
    p.assign(start);
    const double wanted = (above - below) / (2 * h);
    const double got = sum(gradients[i] * direction).item();
    errors.push_back(std::abs(got - wanted) / (1.0 + std::abs(wanted)));
  }
  return errors;
}

}  // namespace ito::test
