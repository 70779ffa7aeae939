// Reading the JSON of diffusers. Internal to diffusion/models/.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "nn/json_text.h"
#include "tensor/error.h"

namespace ito::diffusers_json {

using Json = nlohmann::ordered_json;

// Whose documentation the keys that are written were taken from.
inline constexpr const char* version = "0.24.0";

inline Json parse_object(const std::string& text, const std::string& file) {
  Json json = nn::parse_json<Json>(text);
  if (!json.is_object()) fail<FormatError>("{}: must be a JSON object", file);
  return json;
}

// A key that is missing or null has the value that diffusers takes then.
template <class T>
T value(const Json& json, const char* key, const T& otherwise, const std::string& file) {
  if (!json.contains(key) || json[key].is_null()) return otherwise;
  try {
    return json[key].get<T>();
  } catch (const nlohmann::json::exception&) {
    fail<FormatError>("{}: {} cannot be read; got {}", file, key, json[key].dump());
  }
}

// What ito has no counterpart for must have its usual value.
inline void expect_usual(const Json& json, const char* key, const Json& usual,
                         const std::string& file) {
  const Json got = json.contains(key) ? json[key] : usual;
  if (got != usual) {
    fail<FormatError>("{}: {} must be {} for a network of ito; got {}", file, key, usual.dump(),
                      got.dump());
  }
}

}  // namespace ito::diffusers_json
