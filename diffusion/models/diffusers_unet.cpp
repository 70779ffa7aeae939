// The config.json of a UNet2DModel of diffusers, and the network of ito that computes the same.
#include <algorithm>

#include "diffusion/models/diffusers_format.h"
#include "diffusion/models/diffusers_json.h"

namespace ito {

using namespace diffusers_json;

namespace {

std::string block_type(const UNetConfig& c, std::int64_t level, const char* direction) {
  return fmt::format("{}{}Block2D", c.has_attention(level) ? "Attn" : "", direction);
}

// Channels of a head, if it is the same wherever there is attention; null for one head.
Json head_dim(const UNetConfig& c) {
  if (c.head_channels > 0) return c.head_channels;
  if (c.heads == 1) return nullptr;
  std::int64_t channels = c.channels(c.levels() - 1);  // of the middle
  for (std::int64_t i = 0; i < c.levels(); ++i) {
    if (c.has_attention(i) && c.channels(i) != channels) {
      fail<ValueError>(
          "diffusers has as many channels in every head of a network; got heads = {} where there "
          "are {} and {} channels; train with one head",
          c.heads, c.channels(i), channels);
    }
  }
  return channels / c.heads;
}

// One number, or height and width. ito's images are square.
std::int64_t image_size(const Json& json, const std::string& file) {
  if (!json.contains("sample_size") || !json["sample_size"].is_array()) {
    return value<std::int64_t>(json, "sample_size", 0, file);
  }
  const auto sizes = value<std::vector<std::int64_t>>(json, "sample_size", {}, file);
  if (sizes.size() != 2 || sizes[0] != sizes[1]) {
    fail<FormatError>("{}: sample_size must be one number, or two that are equal; got {}", file,
                      json["sample_size"].dump());
  }
  return sizes[0];
}

void read_shape(const Json& json, const std::string& file, UNetConfig& c) {
  const auto widths =
      value<std::vector<std::int64_t>>(json, "block_out_channels", {224, 448, 672, 896}, file);
  if (widths.empty() || widths[0] < 1) {
    fail<FormatError>("{}: block_out_channels must not be empty", file);
  }
  c.base_channels = widths[0];
  c.channel_multipliers.clear();
  for (const std::int64_t width : widths) {
    if (width % c.base_channels != 0) {
      fail<FormatError>("{}: block_out_channels must be multiples of the first; got {} and {}",
                        file, width, c.base_channels);
    }
    c.channel_multipliers.push_back(width / c.base_channels);
  }
  const auto usual = std::vector<std::string>{};
  const auto down = value(json, "down_block_types", usual, file);
  const auto up = value(json, "up_block_types", usual, file);
  c.attention_resolutions.clear();
  for (std::int64_t i = 0; i < c.levels(); ++i) {
    const auto at = static_cast<std::size_t>(i),
               mirror = static_cast<std::size_t>(c.levels() - 1 - i);
    const std::string type = at < down.size() ? down[at] : "nothing";
    if (type == "AttnDownBlock2D") c.attention_resolutions.push_back(c.resolution(i));
    if (type != block_type(c, i, "Down") || mirror >= up.size() ||
        up[mirror] != block_type(c, i, "Up")) {
      fail<FormatError>(
          "{}: down_block_types must be DownBlock2D or AttnDownBlock2D, one for each of "
          "block_out_channels, and up_block_types the same in reverse; got {} at level {}",
          file, type, i);
    }
  }
}

}  // namespace

std::string diffusers_unet_config(const UNetConfig& c) {
  if (c.time_features == TimeFeatures::fourier || !c.fourier_features.empty()) {
    fail<ValueError>(
        "diffusers' UNet2DModel has no counterpart of {}",
        c.fourier_features.empty() ? "fixed Fourier features of the time" : "fourier_features");
  }
  std::vector<std::int64_t> widths;
  std::vector<std::string> down, up;
  for (std::int64_t i = 0; i < c.levels(); ++i) {
    widths.push_back(c.channels(i));
    down.push_back(block_type(c, i, "Down"));
    up.insert(up.begin(), block_type(c, i, "Up"));
  }
  const bool cosines_first = c.time_features == TimeFeatures::cos_sin;
  const Json classes = c.num_classes > 0 ? Json(c.num_classes + 1) : Json(nullptr);
  const bool adagn = c.conditioning == EmbeddingMode::adagn;
  return Json{{"_class_name", "UNet2DModel"},
              {"_diffusers_version", version},
              {"act_fn", "silu"},
              {"add_attention", true},
              {"attention_head_dim", head_dim(c)},
              {"attn_norm_num_groups", adagn ? Json(c.norm_groups) : Json(nullptr)},
              {"block_out_channels", widths},
              {"center_input_sample", false},
              {"class_embed_type", nullptr},
              {"down_block_types", down},
              {"downsample_padding", c.symmetric_padding ? 1 : 0},
              {"dropout", c.dropout},
              {"flip_sin_to_cos", cosines_first},
              {"freq_shift", cosines_first ? 0 : 1},
              {"in_channels", c.in_channels},
              {"layers_per_block", c.blocks_per_level},
              {"mid_block_scale_factor", 1},
              {"norm_eps", c.norm_eps},
              {"norm_num_groups", c.norm_groups},
              {"num_class_embeds", classes},
              {"out_channels", c.out_channels},
              {"resnet_time_scale_shift", adagn ? "scale_shift" : "default"},
              {"sample_size", c.image_size},
              {"time_embedding_type", "positional"},
              {"up_block_types", up}}
             .dump(2) +
         "\n";
}

UNetConfig unet_of_diffusers(const std::string& text, const std::string& file) {
  const Json json = parse_object(text, file);
  const std::pair<const char*, Json> usual[] = {{"_class_name", "UNet2DModel"},
                                                {"act_fn", "silu"},
                                                {"add_attention", true},
                                                {"center_input_sample", false},
                                                {"class_embed_type", nullptr},
                                                {"downsample_type", "conv"},
                                                {"mid_block_scale_factor", 1},
                                                {"time_embedding_type", "positional"},
                                                {"upsample_type", "conv"},
                                                {"time_embedding_dim", nullptr},
                                                {"mid_block_type", "UNetMidBlock2D"}};
  for (const auto& [key, wanted] : usual) expect_usual(json, key, wanted, file);
  UNetConfig c;
  c.image_size = image_size(json, file);
  c.in_channels = value<std::int64_t>(json, "in_channels", 3, file);
  c.out_channels = value<std::int64_t>(json, "out_channels", 3, file);
  c.blocks_per_level = value<std::int64_t>(json, "layers_per_block", 2, file);
  c.norm_groups = value<std::int64_t>(json, "norm_num_groups", 32, file);
  c.norm_eps = value(json, "norm_eps", 1e-5, file);
  c.dropout = value(json, "dropout", 0.0, file);
  read_shape(json, file, c);
  const Json head = json.contains("attention_head_dim") ? json["attention_head_dim"] : Json(8);
  c.head_channels = head.is_null() ? 0 : value<std::int64_t>(json, "attention_head_dim", 8, file);
  const auto padding = value<std::int64_t>(json, "downsample_padding", 1, file);
  if (padding != 0 && padding != 1) {
    fail<FormatError>("{}: downsample_padding must be 0 or 1; got {}", file, padding);
  }
  c.symmetric_padding = padding == 1;
  const bool flipped = value(json, "flip_sin_to_cos", true, file);
  c.time_features = flipped ? TimeFeatures::cos_sin : TimeFeatures::sin_cos;
  const auto freq_shift = value<std::int64_t>(json, "freq_shift", 0, file);
  if (freq_shift != (flipped ? 0 : 1)) {
    fail<FormatError>("{}: freq_shift must be 0 with flip_sin_to_cos and 1 without; got {}", file,
                      freq_shift);
  }
  const auto shift = value<std::string>(json, "resnet_time_scale_shift", "default", file);
  if (shift != "default" && shift != "scale_shift") {
    fail<FormatError>("{}: resnet_time_scale_shift must be default or scale_shift; got {}", file,
                      shift);
  }
  c.conditioning = shift == "default" ? EmbeddingMode::add : EmbeddingMode::adagn;
  // The attention of the middle has no norm when blocks have AdaGN, unless its groups are given.
  const std::int64_t groups = shift == "default" ? c.norm_groups : 0;
  if (value(json, "attn_norm_num_groups", groups, file) != c.norm_groups) {
    fail<FormatError>("{}: attn_norm_num_groups must be norm_num_groups, {}; got {}", file,
                      c.norm_groups, json.value("attn_norm_num_groups", Json(nullptr)).dump());
  }
  c.num_classes =
      std::max<std::int64_t>(value<std::int64_t>(json, "num_class_embeds", 0, file) - 1, 0);
  if (c.out_channels != c.in_channels && c.out_channels != 2 * c.in_channels) {
    fail<FormatError>(
        "{}: out_channels must be in_channels, or twice that with a learned variance; got {} and "
        "{}: a network with further inputs, such as a map of classes, has no counterpart",
        file, c.out_channels, c.in_channels);
  }
  try {
    c.validate();
  } catch (const ValueError& e) {
    fail<FormatError>("{}: {}", file, e.what());
  }
  return c;
}

}  // namespace ito
