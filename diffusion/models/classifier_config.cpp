#include <algorithm>

#include "diffusion/models/classifier.h"
#include "diffusion/models/config_json.h"

namespace ito {
namespace {

constexpr auto classifier_fields = [](auto& c, const auto& f) {
  f("image_size", c.image_size);
  f("in_channels", c.in_channels);
  f("classes", c.classes);
  f("base_channels", c.base_channels);
  f("channel_multipliers", c.channel_multipliers);
  f("blocks_per_level", c.blocks_per_level);
  f("norm_groups", c.norm_groups);
};

}  // namespace

// The upper bounds are far above any use; they keep the sizes of a damaged file from overflowing.
void ClassifierConfig::validate() const {
  const auto levels = static_cast<std::int64_t>(channel_multipliers.size());
  expect_range("classifier", "in_channels", in_channels, 1, 65536);
  expect_range("classifier", "classes", classes, 2, 65536);
  expect_range("classifier", "base_channels", base_channels, 4, 16384);
  expect_range("classifier", "number of channel_multipliers", levels, 1, 13);
  for (const auto m : channel_multipliers)
    expect_range("classifier", "each channel multiplier", m, 1, 256);
  expect_range("classifier", "blocks_per_level", blocks_per_level, 1, 256);
  expect_range("classifier", "norm_groups", norm_groups, 1, 65536);
  const std::int64_t least = std::max<std::int64_t>(4, std::int64_t{2} << levels);
  expect_range("classifier", "image_size", image_size, least, 16384);
  if (base_channels % 2 != 0 || base_channels % norm_groups != 0) {
    fail<ValueError>(
        "classifier: base_channels must be even and a multiple of norm_groups; got {} channels, {} "
        "groups; use base_channels = {}",
        base_channels, norm_groups, (base_channels / (2 * norm_groups) + 1) * 2 * norm_groups);
  }
}

std::string ClassifierConfig::to_json() const { return config_to_json(*this, classifier_fields); }

ClassifierConfig ClassifierConfig::from_json(const std::string& text) {
  return config_from_json<ClassifierConfig>("classifier", text, classifier_fields);
}

}  // namespace ito
