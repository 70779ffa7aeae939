#include <algorithm>
#include <nlohmann/json.hpp>

#include "diffusion/models/classifier.h"
#include "tensor/error.h"

namespace ito {
namespace {

using Json = nlohmann::ordered_json;  // keys in the order of the fields

// Calls f(key, field) for every field: the one list that reading and writing share.
template <class Config, class F>
void for_each_field(Config& c, const F& f) {
  f("image_size", c.image_size);
  f("in_channels", c.in_channels);
  f("classes", c.classes);
  f("base_channels", c.base_channels);
  f("channel_multipliers", c.channel_multipliers);
  f("blocks_per_level", c.blocks_per_level);
  f("norm_groups", c.norm_groups);
}

void read(const char* key, const Json& value, std::int64_t& field) {
  if (!value.is_number_integer()) {
    fail<FormatError>("classifier config: {} must be an integer; got {}", key, value.dump());
  }
  field = value.get<std::int64_t>();
}

void read(const char* key, const Json& value, std::vector<std::int64_t>& field) {
  if (!value.is_array()) {
    fail<FormatError>("classifier config: {} must be a list of integers; got {}", key,
                      value.dump());
  }
  field.clear();
  for (const Json& element : value) read(key, element, field.emplace_back());
}

void expect_range(const char* field, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value < low || value > high) {
    fail<ValueError>("classifier: {} must be in [{}, {}]; got {}", field, low, high, value);
  }
}

}  // namespace

// The upper bounds are far above any use; they keep the sizes of a damaged file from overflowing.
void ClassifierConfig::validate() const {
  const auto levels = static_cast<std::int64_t>(channel_multipliers.size());
  expect_range("in_channels", in_channels, 1, 65536);
  expect_range("classes", classes, 2, 65536);
  expect_range("base_channels", base_channels, 4, 16384);
  expect_range("number of channel_multipliers", levels, 1, 13);
  for (const auto m : channel_multipliers) expect_range("each channel multiplier", m, 1, 256);
  expect_range("blocks_per_level", blocks_per_level, 1, 256);
  expect_range("norm_groups", norm_groups, 1, 65536);
  const std::int64_t least = std::max<std::int64_t>(4, std::int64_t{2} << levels);
  expect_range("image_size", image_size, least, 16384);
  if (base_channels % 2 != 0 || base_channels % norm_groups != 0) {
    fail<ValueError>(
        "classifier: base_channels must be even and a multiple of norm_groups; got {} channels, {} "
        "groups; use base_channels = {}",
        base_channels, norm_groups, (base_channels / (2 * norm_groups) + 1) * 2 * norm_groups);
  }
}

std::string ClassifierConfig::to_json() const {
  Json json;
  for_each_field(*this, [&](const char* key, const auto& field) { json[key] = field; });
  return json.dump();
}

ClassifierConfig ClassifierConfig::from_json(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) fail<FormatError>("classifier config: must be a JSON object");
  ClassifierConfig config;
  std::vector<std::string> known;
  for_each_field(config, [&](const char* key, auto& field) {
    known.emplace_back(key);
    if (!json.contains(key)) fail<FormatError>("classifier config: {} is missing", key);
    read(key, json[key], field);
  });
  for (const auto& item : json.items()) {
    if (std::ranges::count(known, item.key()) == 0) {
      fail<FormatError>("classifier config: unknown key \"{}\"; known are {}", item.key(),
                        fmt::join(known, ", "));
    }
  }
  config.validate();
  return config;
}

}  // namespace ito
