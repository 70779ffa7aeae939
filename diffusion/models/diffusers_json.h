// Reading the JSON of diffusers. Private to the library, as config_json.h.
//
//   const auto json = diffusers_json::parse_object("{\"groups\": 8}", "config.json");
//   const auto groups = diffusers_json::value<std::int64_t>(json, "groups", 32, "config.json");
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "nn/json_text.h"
#include "tensor/error.h"

namespace ito::diffusers_json {

using Json = nlohmann::ordered_json;

/// The release of diffusers that files are written for; the keys are those of its documentation.
inline constexpr const char* version = "0.42.1";

/// The text with null where Python's json module writes numbers that JSON has not: Infinity,
/// -Infinity and NaN, as for the key lambda_min_clipped.
inline std::string without_infinities(const std::string& text) {
  std::string result;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"' && (i == 0 || text[i - 1] != '\\')) quoted = !quoted;
    const std::string_view rest = std::string_view(text).substr(i);
    std::size_t length = 0;
    for (const std::string_view word : {"-Infinity", "Infinity", "NaN"}) {
      if (!quoted && length == 0 && rest.starts_with(word)) length = word.size();
    }
    result += length > 0 ? "null" : std::string(1, text[i]);
    if (length > 0) i += length - 1;
  }
  return result;
}

/// Throws FormatError for what is no object.
inline Json parse_object(const std::string& text, const std::string& file) {
  Json json = nn::parse_json<Json>(without_infinities(text));
  if (!json.is_object()) fail<FormatError>("{}: must be a JSON object", file);
  return json;
}

/// A key that is missing or null has the value that diffusers takes then.
template <class T>
T value(const Json& json, const char* key, const T& otherwise, const std::string& file) {
  if (!json.contains(key) || json[key].is_null()) return otherwise;
  try {
    return json[key].get<T>();
  } catch (const nlohmann::json::exception&) {
    fail<FormatError>("{}: {} cannot be read; got {}", file, key, json[key].dump());
  }
}

/// What ito has no counterpart for must have its usual value.
inline void expect_usual(const Json& json, const char* key, const Json& usual,
                         const std::string& file) {
  const Json got = json.contains(key) ? json[key] : usual;
  if (got != usual) {
    fail<FormatError>("{}: {} must be {} for a network of ito; got {}", file, key, usual.dump(),
                      got.dump());
  }
}

}  // namespace ito::diffusers_json
