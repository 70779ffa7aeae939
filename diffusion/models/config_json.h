// A network's configuration, or the card of a model, as a JSON object and back. Private to the
// library: nlohmann-json is no dependency of those who use it.
//
// A configuration names its fields once, in a function that reading and writing share:
//
//   constexpr auto fields = [](auto& config, const auto& f) {
//     f("width", config.width);
//     f("heads", config.heads, Since{});  // files written before there was the field lack it
//   };
//   config_to_json(config, fields);
//   config_from_json<MlpConfig>("mlp", text, fields);
//
// Fields are std::int64_t, double, bool, std::string, lists of integers and strings, enums with
// names (tensor/enum_names.h), and other configurations.
#pragma once

#include <fmt/ranges.h>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <vector>

#include "nn/json_text.h"
#include "nn/safetensors.h"
#include "tensor/enum_names.h"
#include "tensor/error.h"

namespace ito {

using ConfigJson = nlohmann::ordered_json;  // keys in the order of the fields

struct Since {};

/// A configuration that is a field of another one.
template <class T>
concept NestedConfig = requires(const T& config, const std::string& text) {
  { config.to_json() } -> std::same_as<std::string>;
  { T::from_json(text) } -> std::same_as<T>;
};

/// Throws ValueError unless low <= value <= high; `kind` is the network's, "unet".
inline void expect_range(const char* kind, const char* field, std::int64_t value, std::int64_t low,
                         std::int64_t high) {
  if (value < low || value > high) {
    fail<ValueError>("{}: {} must be in [{}, {}]; got {}", kind, field, low, high, value);
  }
}

/// One value of the JSON object of a `kind` ("unet") of configuration.
struct ConfigValue {
  const char* kind;
  const char* key;
  const ConfigJson& json;

  void expect(bool right, const std::string& wanted) const {
    if (!right) {
      fail<FormatError>("{} config: {} must be {}; got {}", kind, key, wanted, json.dump());
    }
  }
};

inline void read(const ConfigValue& value, std::int64_t& field) {
  const ConfigJson& json = value.json;
  const bool too_large = json.is_number_unsigned() && json.get<std::uint64_t>() > INT64_MAX;
  value.expect(json.is_number_integer() && !too_large, "an integer");
  field = json.get<std::int64_t>();
}

inline void read(const ConfigValue& value, double& field) {
  value.expect(value.json.is_number(), "a number");
  field = value.json.get<double>();
}

inline void read(const ConfigValue& value, bool& field) {
  value.expect(value.json.is_boolean(), "true or false");
  field = value.json.get<bool>();
}

inline void read(const ConfigValue& value, std::string& field) {
  value.expect(value.json.is_string(), "a string");
  field = value.json.get<std::string>();
}

template <NestedConfig Config>
void read(const ConfigValue& value, Config& field) {
  field = Config::from_json(value.json.dump());
}

template <class T>
void read(const ConfigValue& value, std::vector<T>& field) {
  const bool text = std::is_same_v<T, std::string>;
  value.expect(value.json.is_array(), text ? "a list of strings" : "a list of integers");
  field.clear();
  for (const ConfigJson& element : value.json) {
    read({value.kind, value.key, element}, field.emplace_back());
  }
}

template <NamedEnum Enum>
void read(const ConfigValue& value, Enum& field) {
  const std::vector<std::string> known = all_names<Enum>();
  const std::string name = value.json.is_string() ? value.json.get<std::string>() : "";
  value.expect(std::ranges::count(known, name) > 0,
               fmt::format("one of {}", fmt::join(known, ", ")));
  field = enum_from_name<Enum>(name);
}

template <class Config, class Fields>
std::string config_to_json(const Config& config, const Fields& fields) {
  ConfigJson json;
  fields(config, [&]<class T>(const char* key, const T& field, auto...) {
    if constexpr (std::is_enum_v<T>) {
      json[key] = name_of(field);
    } else if constexpr (NestedConfig<T>) {
      json[key] = ConfigJson::parse(field.to_json());
    } else {
      json[key] = field;
    }
  });
  return json.dump();
}

/// Throws FormatError for text that is not a JSON object, a missing or unknown key and a value of
/// another type, and what `Config::validate` throws.
template <class Config, class Fields>
Config config_from_json(const char* kind, const std::string& text, const Fields& fields) {
  const ConfigJson json = nn::parse_json<ConfigJson>(text);
  if (!json.is_object()) fail<FormatError>("{} config: must be a JSON object", kind);
  Config config;
  std::vector<std::string> known;
  fields(config, [&](const char* key, auto& field, auto... added) {
    known.emplace_back(key);
    if (json.contains(key)) return read({kind, key, json[key]}, field);
    if (sizeof...(added) == 0) fail<FormatError>("{} config: {} is missing", kind, key);
  });
  for (const auto& item : json.items()) {
    if (std::ranges::count(known, item.key()) == 0) {
      fail<FormatError>("{} config: unknown key \"{}\"; known are {}", kind, item.key(),
                        fmt::join(known, ", "));
    }
  }
  config.validate();
  return config;
}

/// The card that `file` carries under `key` in its metadata, as the program `made_by` writes it.
/// Throws FormatError, naming the file.
template <class Card>
Card card_of(const nn::SafeTensors& file, const char* key, const char* made_by) {
  const auto text = file.metadata.find(key);
  if (text == file.metadata.end()) {
    fail<FormatError>("{}: no {} in its metadata; only files made by {} can be used", file.file,
                      key, made_by);
  }
  try {
    return Card::from_json(text->second);
  } catch (const Error& e) {
    fail<FormatError>("{}: {}", file.file, e.what());
  }
}

}  // namespace ito
