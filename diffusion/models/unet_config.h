// UNetConfig: the shape of a U-Net, as plain data and as JSON text. Checkpoints carry it.
//
//   UNetConfig config = UNetConfig::cifar10();
//   config.base_channels = 64;
//   config.validate();                                   // explains what does not fit
//   UNetConfig same = UNetConfig::from_json(config.to_json());
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/enum_names.h"

namespace ito {

/// How a residual block takes in what it is told of the timestep and the class.
enum class EmbeddingMode : std::uint8_t {
  add,    ///< added to its channels (Ho et al. 2020)
  adagn,  ///< as scale and shift of its second norm (Dhariwal & Nichol 2021, section 3)
};
constexpr EnumNames<EmbeddingMode, 2> enum_names(EmbeddingMode) {
  return {"conditioning", {{EmbeddingMode::add, "add"}, {EmbeddingMode::adagn, "adagn"}}};
}

/// What a number becomes before a network sees it: see time_embedding.h.
enum class TimeFeatures : std::uint8_t {
  sin_cos,  ///< sines, then cosines, as DDPM
  cos_sin,  ///< cosines, then sines, as improved DDPM and ADM
  fourier,  ///< of random frequencies, for a continuous number such as log sigma
};
constexpr EnumNames<TimeFeatures, 3> enum_names(TimeFeatures) {
  return {"time features",
          {{TimeFeatures::sin_cos, "sin_cos"},
           {TimeFeatures::cos_sin, "cos_sin"},
           {TimeFeatures::fourier, "fourier"}}};
}

struct UNetConfig {
  std::int64_t image_size = 28;  ///< height and width of the images
  std::int64_t in_channels = 1;
  std::int64_t out_channels = 1;
  std::int64_t base_channels = 32;  ///< channels of the first level, and size of the sinusoids of t
  /// One per level, from the full resolution down; each level has half the resolution of the one
  /// before.
  std::vector<std::int64_t> channel_multipliers = {1, 2, 2};
  std::int64_t blocks_per_level = 2;  ///< residual blocks on the way down; one more on the way up
  /// Sizes of the levels whose blocks are followed by attention. The middle always has it.
  std::vector<std::int64_t> attention_resolutions = {14};
  std::int64_t heads = 1;
  double dropout = 0.0;  ///< probability inside residual blocks while training
  std::int64_t norm_groups = 32;
  double norm_eps = 1e-6;
  std::int64_t num_classes = 0;  ///< classes that can be asked for; 0: the network knows of none
  EmbeddingMode conditioning = EmbeddingMode::add;
  TimeFeatures time_features = TimeFeatures::sin_cos;
  /// The network also sees sin(2^n pi x_t) and cos(2^n pi x_t) for these n, the details too fine
  /// for it otherwise (Kingma et al. 2021, arXiv 2107.00630, section 5.3, with {7, 8}); none: only
  /// x_t.
  std::vector<std::int64_t> fourier_features;
  std::int64_t head_channels = 0;  ///< > 0: channels of a head, in place of `heads`
  /// Downsampling pads all four sides (improved DDPM, ADM), not only below and to the right (DDPM).
  bool symmetric_padding = false;

  /// 28 x 28 grey images; 1,623,169 parameters. The 32 channels of the first level are 32 groups of
  /// one, so that its norms take away again what the timestep adds to a channel: time acts from the
  /// second level down. Fewer norm_groups let it act everywhere, with the same parameters.
  static UNetConfig mnist();
  /// The network of DDPM for CIFAR-10 (Ho et al. 2020, appendix B); 35,746,307 parameters.
  static UNetConfig cifar10();

  std::int64_t channels_seen() const;  ///< in_channels with the fine details
  std::int64_t levels() const { return static_cast<std::int64_t>(channel_multipliers.size()); }
  std::int64_t channels(std::int64_t level) const;    ///< base_channels times the multiplier
  std::int64_t resolution(std::int64_t level) const;  ///< image_size / 2^level
  bool has_attention(std::int64_t level) const;
  std::int64_t heads_of(std::int64_t channels) const;  ///< of attention over so many channels

  /// Throws ValueError with the field, its value and a value that would do.
  void validate() const;

  /// One line of JSON; its keys are the names of the fields.
  std::string to_json() const;
  /// Fields from num_classes on may be missing: files of older versions lack them, and mean the
  /// defaults. Throws FormatError on text that is not a JSON object, an unknown or missing key, or
  /// a value of the wrong type; ValueError as validate().
  static UNetConfig from_json(const std::string& text);

  friend bool operator==(const UNetConfig&, const UNetConfig&) = default;
};

}  // namespace ito
