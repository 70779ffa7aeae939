// JSON of untrusted files. Internal to the library's readers: nlohmann-json is no dependency of
// those who use ito.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tensor/error.h"

namespace ito::nn {

/// The value of a text. Nesting is limited, because writing and freeing a value recurse. Text that
/// is no JSON gives a discarded value. Throws FormatError beyond 64 levels.
template <class Json>
Json parse_json(const std::string& text) {
  static constexpr int max_depth = 64;
  const auto limit = [](int depth, typename Json::parse_event_t, Json&) {
    if (depth > max_depth) fail<FormatError>("JSON nested more than {} deep", max_depth);
    return true;
  };
  return Json::parse(text, limit, /*allow_exceptions=*/false);
}

}  // namespace ito::nn
