#include "diffusion/models/unet_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "diffusion/models/config_json.h"

namespace ito {

namespace {

constexpr auto unet_fields = [](auto& c, const auto& f) {
  f("image_size", c.image_size);
  f("in_channels", c.in_channels);
  f("out_channels", c.out_channels);
  f("base_channels", c.base_channels);
  f("channel_multipliers", c.channel_multipliers);
  f("blocks_per_level", c.blocks_per_level);
  f("attention_resolutions", c.attention_resolutions);
  f("heads", c.heads);
  f("dropout", c.dropout);
  f("norm_groups", c.norm_groups);
  f("norm_eps", c.norm_eps);
  f("num_classes", c.num_classes, Since{});
  f("conditioning", c.conditioning, Since{});
  f("time_features", c.time_features, Since{});
  f("fine_details", c.fourier_features, Since{});
  f("head_channels", c.head_channels, Since{});
  f("symmetric_padding", c.symmetric_padding, Since{});
};

// The upper bounds are far above any use; they keep the sizes of a damaged file from overflowing.
void validate_ranges(const UNetConfig& c) {
  expect_range("unet", "image_size", c.image_size, 1, 16384);
  expect_range("unet", "in_channels", c.in_channels, 1, 65536);
  expect_range("unet", "out_channels", c.out_channels, 1, 65536);
  expect_range("unet", "base_channels", c.base_channels, 4, 16384);
  expect_range("unet", "number of channel_multipliers", c.levels(), 1, 14);
  for (const auto m : c.channel_multipliers)
    expect_range("unet", "each channel multiplier", m, 1, 256);
  expect_range("unet", "blocks_per_level", c.blocks_per_level, 1, 256);
  expect_range("unet", "heads", c.heads, 1, 65536);
  expect_range("unet", "head_channels", c.head_channels, 0, 65536);
  expect_range("unet", "norm_groups", c.norm_groups, 1, 65536);
  expect_range("unet", "num_classes", c.num_classes, 0, 1 << 20);
  for (const auto n : c.fourier_features)
    expect_range("unet", "each of fourier_features", n, 0, 30);
  if (c.base_channels % 2 != 0) {
    fail<ValueError>("unet: base_channels must be even (sines and cosines of t); got {}; use {}",
                     c.base_channels, c.base_channels + 1);
  }
  if (!(c.dropout >= 0.0 && c.dropout < 1.0)) {
    fail<ValueError>("unet: dropout must be in [0, 1); got {}; use 0 for none", c.dropout);
  }
  if (!(c.norm_eps > 0.0 && std::isfinite(c.norm_eps))) {
    fail<ValueError>("unet: norm_eps must be positive; got {}; use 1e-6", c.norm_eps);
  }
}

void validate_resolutions(const UNetConfig& c) {
  const std::int64_t step = std::int64_t{1} << (c.levels() - 1);
  if (c.image_size % step != 0) {
    fail<ValueError>(
        "unet: image_size must be a multiple of 2^(levels - 1) = {} for {} levels; got {}; use {}, "
        "or fewer channel_multipliers",
        step, c.levels(), c.image_size, (c.image_size / step + 1) * step);
  }
  std::vector<std::int64_t> sizes;
  for (std::int64_t i = 0; i < c.levels(); ++i) sizes.push_back(c.resolution(i));
  for (const auto size : c.attention_resolutions) {
    if (std::ranges::count(sizes, size) == 0) {
      fail<ValueError>(
          "unet: attention_resolutions must be sizes of levels; got {}; the levels have {}", size,
          fmt::join(sizes, ", "));
    }
  }
}

void validate_channels(const UNetConfig& c) {
  for (std::int64_t i = -1; i < c.levels(); ++i) {  // -1: the first convolution
    const std::int64_t channels = i < 0 ? c.base_channels : c.channels(i);
    if (channels % c.norm_groups != 0) {
      fail<ValueError>(
          "unet: norm_groups must divide the channels of every level; got norm_groups = {}, {} "
          "channels; use norm_groups = {}, or base_channels = {}",
          c.norm_groups, channels, std::gcd(c.norm_groups, channels),
          (c.base_channels / c.norm_groups + 1) * c.norm_groups);
    }
    const bool attends = i >= 0 && (c.has_attention(i) || i == c.levels() - 1);
    if (!attends) continue;
    if (c.head_channels > 0 && channels % c.head_channels != 0) {
      fail<ValueError>(
          "unet: head_channels must divide the channels where there is attention; got "
          "head_channels = {}, {} channels; use head_channels = {}",
          c.head_channels, channels, std::gcd(c.head_channels, channels));
    }
    if (channels % c.heads_of(channels) != 0) {
      fail<ValueError>(
          "unet: heads must divide the channels where there is attention; got heads = {}, {} "
          "channels; use heads = {}",
          c.heads, channels, std::gcd(c.heads, channels));
    }
  }
}

}  // namespace

UNetConfig UNetConfig::mnist() { return {}; }

UNetConfig UNetConfig::cifar10() {
  UNetConfig c;
  c.image_size = 32;
  c.in_channels = c.out_channels = 3;
  c.base_channels = 128;
  c.channel_multipliers = {1, 2, 2, 2};
  c.attention_resolutions = {16};
  c.dropout = 0.1;
  return c;
}

std::int64_t UNetConfig::channels_seen() const {
  return in_channels * (1 + 2 * std::ssize(fourier_features));
}

std::int64_t UNetConfig::channels(std::int64_t level) const {
  return base_channels * channel_multipliers.at(static_cast<std::size_t>(level));
}

std::int64_t UNetConfig::resolution(std::int64_t level) const { return image_size >> level; }

bool UNetConfig::has_attention(std::int64_t level) const {
  return std::ranges::count(attention_resolutions, resolution(level)) > 0;
}

std::int64_t UNetConfig::heads_of(std::int64_t channels) const {
  return head_channels > 0 ? channels / head_channels : heads;
}

void UNetConfig::validate() const {
  validate_ranges(*this);
  validate_resolutions(*this);
  validate_channels(*this);
}

std::string UNetConfig::to_json() const { return config_to_json(*this, unet_fields); }

UNetConfig UNetConfig::from_json(const std::string& text) {
  return config_from_json<UNetConfig>("unet", text, unet_fields);
}

}  // namespace ito
