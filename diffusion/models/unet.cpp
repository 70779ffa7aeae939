#include "diffusion/models/unet.h"

#include <memory>
#include <utility>

#include "autograd/engine.h"
#include "autograd/ops/conv_upsample.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/random.h"
#include "diffusion/models/time_embedding.h"
#include "nn/recompute.h"
#include "tensor/check.h"
#include "tensor/profile.h"

namespace ito {
namespace {

constexpr double zero_init = 0.0;  // scale of the initial weights where a block ends

nn::Conv2d conv3x3(std::int64_t in, std::int64_t out, Rng& init, double scale = 1.0) {
  return nn::Conv2d(in, out, 3, {.padding = 1}, init, scale);
}

nn::GroupNorm norm(std::int64_t channels, const UNetConfig& c) {
  return nn::GroupNorm(static_cast<int>(c.norm_groups), channels, c.norm_eps);
}

nn::AttentionBlock attention_block(std::int64_t channels, const UNetConfig& c, Rng& init) {
  return nn::AttentionBlock(channels, init,
                            {.heads = static_cast<int>(c.heads_of(channels)),
                             .groups = static_cast<int>(c.norm_groups),
                             .eps = c.norm_eps});
}

// Resolution halved with one row and column of zeros below and to the right, as TensorFlow's SAME
// does, or with zeros all around.
nn::Conv2d halving(std::int64_t channels, const UNetConfig& c, Rng& init) {
  const Padding below_and_right = Padding::below_and_right(1);
  const Padding padding = c.symmetric_padding ? Padding(1) : below_and_right;
  return nn::Conv2d(channels, channels, 3, {.stride = 2, .padding = padding}, init);
}

Tensor time_features(const UNetConfig& c, const Tensor& t, DType dtype) {
  if (c.time_features == TimeFeatures::fourier) {
    return cast(fourier_embedding(t, c.base_channels), dtype);
  }
  const bool ddpm = c.time_features == TimeFeatures::sin_cos;
  return sinusoidal_embedding(t, c.base_channels, dtype, ddpm ? Sinusoids::ddpm : Sinusoids::iddpm);
}

// What is computed again as one.
struct Stage {
  ResidualBlock resnet;
  std::optional<nn::AttentionBlock> attention;

  Tensor operator()(const Tensor& x, const Tensor& emb, Rng* dropout, const Tensor& skip) const {
    const Tensor h = resnet(x, emb, dropout, skip);
    return attention ? (*attention)(h) : h;
  }

  template <class V>
  void visit(V&& v) {
    v("resnet", resnet);
    v("attention", attention);
  }
};

}  // namespace

Tensor scale_and_shift(const Tensor& h, const Tensor& scale_shift) {
  const std::int64_t n = h.size(0), channels = h.size(-1);
  expect_shape("scale_and_shift", "scale_shift", scale_shift, {n, 2 * channels});
  const Shape every_pixel{n, 1, 1, channels};
  const Tensor scale = reshape(slice(scale_shift, 1, 0, channels), every_pixel);
  const Tensor shift = reshape(slice(scale_shift, 1, channels, 2 * channels), every_pixel);
  return h * (1.0 + scale) + shift;
}

ResidualBlock::ResidualBlock(std::int64_t in, std::int64_t out, const UNetConfig& config, Rng& init)
    : norm1(norm(in, config)),
      conv1(conv3x3(in, out, init)),
      time_emb_proj(4 * config.base_channels,
                    config.conditioning == EmbeddingMode::adagn ? 2 * out : out, init),
      norm2(norm(out, config)),
      conv2(conv3x3(out, out, init, zero_init)),
      dropout(config.dropout),
      conditioning(config.conditioning) {
  if (in != out) conv_shortcut.emplace(in, out, 1, Conv2dOptions{}, init);
}

Tensor ResidualBlock::operator()(const Tensor& x, const Tensor& emb, Rng* dropout_rng,
                                 const Tensor& skip) const {
  const profile::Scope scope(this);
  const bool two = skip.defined();
  if (two && !conv_shortcut) {  // one copy serves both its readers
    return (*this)(concat({x, skip}), emb, dropout_rng);
  }
  const Tensor told = time_emb_proj(emb);  // [N, C] or [N, 2 C], the same for every pixel
  Tensor h = two ? norm1.silu(x, skip) : norm1.silu(x);
  if (conditioning == EmbeddingMode::adagn) {
    h = silu(scale_and_shift(norm2(conv1(h)), told));
  } else {
    h = norm2.silu(conv1.plus(h, reshape(told, Shape{told.size(0), 1, 1, told.size(1)})));
  }
  if (dropout_rng != nullptr && dropout > 0.0) h = ito::dropout(h, dropout, *dropout_rng);
  if (two) return conv2.plus(h, (*conv_shortcut)(x, skip));
  return conv2.plus(h, conv_shortcut ? (*conv_shortcut)(x) : x);
}

Tensor UNetLevel::block(std::size_t j, const Tensor& x, const Tensor& emb, Rng* dropout_rng,
                        const Tensor& skip) const {
  const Tensor h = resnets[j](x, emb, dropout_rng, skip);
  return j < attentions.size() ? attentions[j](h) : h;
}

Tensor UNetLevel::recomputed_block(std::size_t j, const Tensor& x, const Tensor& emb,
                                   Rng* dropout_rng, const Tensor& skip) const {
  // The second time draws the numbers of the first, and leaves the caller's generator alone.
  std::shared_ptr<Rng> first, after;
  if (dropout_rng != nullptr) {
    first = std::make_shared<Rng>(*dropout_rng);
    after = std::make_shared<Rng>(*dropout_rng);
  }
  Stage stage{resnets[j], {}};
  if (j < attentions.size()) stage.attention = attentions[j];
  const Tensor y = nn::recompute(
      std::move(stage),
      [first, after, named = &resnets[j]](const Stage& s, const std::vector<Tensor>& in) {
        const profile::Scope scope(named);  // the copy's own layers have no names
        if (after) *after = *first;
        return s(in[0], in[1], after.get(), in[2]);
      },
      {x, emb, skip});
  if (after) *dropout_rng = *after;
  return y;
}

UNet::UNet(const UNetConfig& c, Rng& init) : config(c) {
  config.validate();
  const std::int64_t embedding = 4 * config.base_channels;
  conv_in = conv3x3(config.channels_seen(), config.base_channels, init);
  time_embedding.linear_1 = nn::Linear(config.base_channels, embedding, init);
  time_embedding.linear_2 = nn::Linear(embedding, embedding, init);
  if (config.num_classes > 0) class_embedding.emplace(config.num_classes + 1, embedding, init);

  std::int64_t channels = config.base_channels;
  std::vector<std::int64_t> skips = {channels};  // channels of what the way up will see again
  const auto add_block = [&](UNetLevel& level, std::int64_t in, std::int64_t out, bool attention) {
    level.resnets.emplace_back(in, out, config, init);
    if (attention) level.attentions.push_back(attention_block(out, config, init));
    channels = out;
  };

  for (std::int64_t i = 0; i < config.levels(); ++i) {
    UNetLevel& level = down_blocks.emplace_back();
    for (std::int64_t j = 0; j < config.blocks_per_level; ++j) {
      add_block(level, channels, config.channels(i), config.has_attention(i));
      skips.push_back(channels);
    }
    if (i + 1 < config.levels()) {
      level.downsampler = halving(channels, config, init);
      skips.push_back(channels);
    }
  }

  add_block(mid_block, channels, channels, /*attention=*/true);
  add_block(mid_block, channels, channels, /*attention=*/false);

  for (std::int64_t i = config.levels() - 1; i >= 0; --i) {
    UNetLevel& level = up_blocks.emplace_back();
    for (std::int64_t j = 0; j < config.blocks_per_level + 1; ++j) {
      add_block(level, channels + skips.back(), config.channels(i), config.has_attention(i));
      skips.pop_back();
    }
    if (i > 0) level.upsampler = conv3x3(channels, channels, init);
  }

  conv_norm_out = norm(channels, config);
  conv_out = conv3x3(channels, config.out_channels, init, zero_init);
}

Tensor UNet::embedding_of(const Tensor& t, const Tensor& labels, DType dtype) const {
  const Tensor features = time_features(config, t, dtype);
  Tensor emb = time_embedding.linear_2(silu(time_embedding.linear_1(features)));
  if (class_embedding) {
    const Tensor null =
        Tensor::full(t.shape(), static_cast<double>(config.num_classes), DType::i64, t.device());
    emb = emb + (*class_embedding)(labels.defined() ? labels : null);
  }
  return silu(emb);
}

Tensor UNet::block(const UNetLevel& level, std::size_t j, const Tensor& x, const Tensor& emb,
                   Rng* dropout, const Tensor& skip) const {
  return recompute && grad_enabled() ? level.recomputed_block(j, x, emb, dropout, skip)
                                     : level.block(j, x, emb, dropout, skip);
}

Tensor UNet::operator()(const Tensor& x_t, const Tensor& t, const Condition& condition,
                        Rng* dropout) const {
  const profile::Scope scope(this);
  expect_rank("unet", "x_t", x_t, 4);
  expect_shape("unet", "x_t", x_t,
               {x_t.size(0), config.image_size, config.image_size, config.in_channels});
  expect_shape("unet", "t", t, {x_t.size(0)});
  if (condition.labels.defined()) {
    if (!class_embedding) {
      fail<ValueError>("unet: labels are for networks with classes; this one has num_classes = 0");
    }
    expect_condition("unet", condition, x_t);
  }

  const bool rounds = conv_in.weight.dtype() == DType::bf16 && x_t.dtype() == DType::f32;
  const Tensor seen = with_fourier_features(x_t, config.fourier_features);
  const Tensor x = rounds ? cast(seen, DType::bf16) : seen;
  const Tensor emb = embedding_of(t, condition.labels, x.dtype());

  Tensor h = conv_in(x);
  std::vector<Tensor> skips = {h};
  for (const UNetLevel& level : down_blocks) {
    for (std::size_t j = 0; j < level.resnets.size(); ++j) {
      h = block(level, j, h, emb, dropout);
      skips.push_back(h);
    }
    if (level.downsampler) {
      h = (*level.downsampler)(h);
      skips.push_back(h);
    }
  }

  for (std::size_t j = 0; j < mid_block.resnets.size(); ++j) {
    h = block(mid_block, j, h, emb, dropout);
  }

  for (const UNetLevel& level : up_blocks) {
    for (std::size_t j = 0; j < level.resnets.size(); ++j) {
      h = block(level, j, h, emb, dropout, skips.back());
      skips.pop_back();
    }
    if (const auto& up = level.upsampler) {
      const profile::Scope upsampling(&*up);
      h = upsample_conv2d(h, up->weight, up->bias, 2, up->options.padding);
    }
  }
  return cast(conv_out(conv_norm_out.silu(h)), x_t.dtype());
}

}  // namespace ito
