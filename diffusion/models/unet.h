// The U-Net of DDPM (Ho et al. 2020, arXiv 2006.11239, appendix B): a network that sees a noisy
// image and its timestep and predicts the noise.
//
//   Rng init(seed, Purpose::init);
//   const UNet unet(UNetConfig::mnist(), init);
//   Tensor eps = unet(x_t, t);                       // x_t [N, 28, 28, 1], t i64 [N]
//   const Denoiser model = Parametrization{}.denoiser(std::cref(unet));  // a UNet is a Network
//
// On the way down each level has residual blocks, at some sizes followed by attention, and halves
// the resolution; on the way up the same in reverse, each block also seeing the output of its
// mirror image below. Parameter names are those of diffusers' UNet2DModel, weights in ito's
// layouts: convolutions [O, kh, kw, I], linear layers [out, in].
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "diffusion/denoiser/condition.h"
#include "diffusion/models/unet_config.h"
#include "nn/attention.h"
#include "nn/layers.h"
#include "tensor/rng.h"
#include "tensor/tensor.h"

namespace ito {

/// Adaptive group normalisation, AdaGN (Dhariwal & Nichol 2021, section 3): (1 + scale) h + shift
/// for a normalised h [N, H, W, C], where scale_shift [N, 2 C] holds the scales of the channels,
/// then the shifts.
Tensor scale_and_shift(const Tensor& h, const Tensor& scale_shift);

/// h = conv1(silu(norm1(x))) + time_emb_proj(emb);  x + conv2(dropout(silu(norm2(h)))), with a 1x1
/// convolution of x when the number of channels changes. conv2 starts at zero. With
/// EmbeddingMode::adagn nothing is added to h: scale_and_shift(norm2(h), time_emb_proj(emb)) stands
/// for norm2(h).
struct ResidualBlock {
  nn::GroupNorm norm1;
  nn::Conv2d conv1;
  nn::Linear time_emb_proj;
  nn::GroupNorm norm2;
  nn::Conv2d conv2;
  std::optional<nn::Conv2d> conv_shortcut;
  double dropout = 0.0;
  EmbeddingMode conditioning = EmbeddingMode::add;

  ResidualBlock(std::int64_t in, std::int64_t out, const UNetConfig& config, Rng& init);
  /// x [N, H, W, in], emb [N, 4 base_channels] with the SiLU applied; returns [N, H, W, out].
  /// With skip, the same of concat({x, skip}), which is never written where a shortcut reads both.
  Tensor operator()(const Tensor& x, const Tensor& emb, Rng* dropout_rng,
                    const Tensor& skip = {}) const;

  template <class V>
  void visit(V&& v) {
    v("norm1", norm1);
    v("conv1", conv1);
    v("time_emb_proj", time_emb_proj);
    v("norm2", norm2);
    v("conv2", conv2);
    v("conv_shortcut", conv_shortcut);
  }
};

/// The blocks of one resolution. Block j is followed by attention j where there is one.
struct UNetLevel {
  std::vector<ResidualBlock> resnets;
  std::vector<nn::AttentionBlock> attentions;
  std::optional<nn::Conv2d> downsampler;  ///< halves the resolution; none at the lowest level
  std::optional<nn::Conv2d> upsampler;    ///< follows a doubling; none at the highest level

  Tensor block(std::size_t j, const Tensor& x, const Tensor& emb, Rng* dropout_rng,
               const Tensor& skip = {}) const;
  /// The same without keeping what is between its inputs and its output (nn/recompute.h).
  Tensor recomputed_block(std::size_t j, const Tensor& x, const Tensor& emb, Rng* dropout_rng,
                          const Tensor& skip = {}) const;

  template <class V>
  void visit(V&& v) {
    for (std::size_t j = 0; j < resnets.size(); ++j) {
      v("resnets." + std::to_string(j), resnets[j]);
      if (j < attentions.size()) v("attentions." + std::to_string(j), attentions[j]);
    }
    v("downsamplers.0.conv", downsampler);
    v("upsamplers.0.conv", upsampler);
  }
};

/// linear_2(silu(linear_1(sinusoids of t))): [N] to [N, 4 base_channels].
struct TimeEmbedding {
  nn::Linear linear_1, linear_2;

  template <class V>
  void visit(V&& v) {
    v("linear_1", linear_1);
    v("linear_2", linear_2);
  }
};

struct UNet {
  UNetConfig config;
  /// For training in less memory: blocks keep their inputs alone, and are computed a second time
  /// for the gradients. These are the same up to the rounding of sums. No part of the model: not
  /// saved.
  bool recompute = false;
  nn::Conv2d conv_in;
  TimeEmbedding time_embedding;
  std::optional<nn::Embedding>
      class_embedding;                 ///< a row for each class, and one for the null class
  std::vector<UNetLevel> down_blocks;  ///< from the full resolution down
  UNetLevel mid_block;
  std::vector<UNetLevel> up_blocks;  ///< from the lowest resolution up
  nn::GroupNorm conv_norm_out;
  nn::Conv2d conv_out;

  /// Initial weights: variance scaling (fan_avg, uniform, scale 1), zeros where a block or the
  /// network ends, so that the network starts by predicting exactly 0. Each weight takes one draw
  /// of `init`, in the order of visit(). Throws ValueError as config.validate().
  UNet(const UNetConfig& config, Rng& init);

  /// x_t [N, image_size, image_size, in_channels], t [N] (i64, or continuous in f32; for
  /// TimeFeatures::fourier it must be continuous); returns [N, ..., out_channels] in the
  /// dtype of x_t: that of the parameters, or f32 for parameters in bf16. Then x_t is rounded at
  /// the entry, all but the sinusoids is bf16 with sums in f32, and the output is widened at the
  /// exit. With a generator, dropout is on: give one while training.
  /// `condition` may have labels where the network knows classes; none mean the null class, "any".
  /// Throws ShapeError, DTypeError, DeviceError, ValueError (labels for a network without classes).
  Tensor operator()(const Tensor& x_t, const Tensor& t, const Condition& condition = {},
                    Rng* dropout = nullptr) const;

  template <class V>
  void visit(V&& v) {
    v("conv_in", conv_in);
    v("time_embedding", time_embedding);
    v("class_embedding", class_embedding);
    v("down_blocks", down_blocks);
    v("mid_block", mid_block);
    v("up_blocks", up_blocks);
    v("conv_norm_out", conv_norm_out);
    v("conv_out", conv_out);
  }

 private:
  /// What every block is told of t and of the class: [N, 4 base_channels], with the SiLU applied
  /// that every block begins with.
  Tensor embedding_of(const Tensor& t, const Tensor& labels, DType dtype) const;
  Tensor block(const UNetLevel& level, std::size_t j, const Tensor& x, const Tensor& emb,
               Rng* dropout, const Tensor& skip = {}) const;
};

}  // namespace ito
