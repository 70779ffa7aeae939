#include "diffusion/models/classifier.h"

#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"
#include "diffusion/models/time_embedding.h"
#include "tensor/check.h"

namespace ito {
namespace {

// Resolution halved, as the U-Net does it: zeros below and to the right.
nn::Conv2d halving(std::int64_t in, std::int64_t out, Rng& init) {
  const Padding below_and_right = Padding::below_and_right(1);
  return nn::Conv2d(in, out, 3, {.stride = 2, .padding = below_and_right}, init);
}

// What residual blocks read of a U-Net's configuration.
UNetConfig block_config(const ClassifierConfig& c) {
  UNetConfig blocks;
  blocks.base_channels = c.base_channels;
  blocks.norm_groups = c.norm_groups;
  return blocks;
}

Tensor zero_timesteps(const Tensor& x) {
  expect_rank("classifier", "x", x, 4);
  return Tensor::zeros({x.size(0)}, DType::i64, x.device());
}

}  // namespace

Classifier::Classifier(const ClassifierConfig& c, Rng& init) : config(c) {
  config.validate();
  const UNetConfig blocks = block_config(config);
  const std::int64_t embedding = 4 * config.base_channels;
  conv_in = halving(config.in_channels, config.base_channels, init);
  time_embedding.linear_1 = nn::Linear(config.base_channels, embedding, init);
  time_embedding.linear_2 = nn::Linear(embedding, embedding, init);

  std::int64_t channels = config.base_channels;
  for (const std::int64_t multiplier : config.channel_multipliers) {
    if (!down_blocks.empty()) {
      down_blocks.back().downsampler = halving(channels, channels, init);
    }
    UNetLevel& level = down_blocks.emplace_back();
    for (std::int64_t j = 0; j < config.blocks_per_level; ++j) {
      level.resnets.emplace_back(channels, config.base_channels * multiplier, blocks, init);
      channels = config.base_channels * multiplier;
    }
  }
  norm_out = nn::GroupNorm(static_cast<int>(config.norm_groups), channels);
  head = nn::Linear(channels, config.classes, init, /*scale=*/0.0);
}

Tensor Classifier::features(const Tensor& x_t, const Tensor& t) const {
  expect_rank("classifier", "x_t", x_t, 4);
  expect_shape("classifier", "x_t", x_t,
               {x_t.size(0), config.image_size, config.image_size, config.in_channels});
  expect_shape("classifier", "t", t, {x_t.size(0)});

  const Tensor sinusoids = sinusoidal_embedding(t, config.base_channels, x_t.dtype());
  const Tensor hidden = silu(time_embedding.linear_1(sinusoids));
  const Tensor emb = silu(time_embedding.linear_2(hidden));  // every block begins with this SiLU

  Tensor h = conv_in(x_t);
  for (const UNetLevel& level : down_blocks) {
    for (std::size_t j = 0; j < level.resnets.size(); ++j) h = level.block(j, h, emb, nullptr);
    if (level.downsampler) h = (*level.downsampler)(h);
  }
  return mean(norm_out.silu(h), {1, 2});
}

Tensor Classifier::features(const Tensor& x) const { return features(x, zero_timesteps(x)); }

Tensor Classifier::operator()(const Tensor& x_t, const Tensor& t) const {
  return head(features(x_t, t));
}

Tensor Classifier::operator()(const Tensor& x) const { return head(features(x)); }

}  // namespace ito
