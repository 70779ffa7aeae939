// manifest.json of a checkpoint.
#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "nn/checkpoint.h"
#include "nn/json_text.h"
#include "tensor/error.h"

namespace ito::nn {
namespace {

using Json = nlohmann::json;

constexpr const char* format_name = "ito-checkpoint";
constexpr int format_version = 1;

[[noreturn]] void refuse(const std::string& file, const std::string& what) {
  fail<FormatError>("{}: {}", file, what);
}

const Json& field(const Json& object, const char* name, const std::string& file) {
  const auto found = object.find(name);
  if (found == object.end()) refuse(file, fmt::format("no \"{}\"", name));
  return *found;
}

std::uint64_t number(const Json& object, const char* name, const std::string& file) {
  const Json& value = field(object, name, file);
  if (!value.is_number_unsigned()) {
    refuse(file, fmt::format("\"{}\": expected a whole number >= 0", name));
  }
  return value.get<std::uint64_t>();
}

std::string text_of(const Json& object, const char* name, const std::string& file) {
  const Json& value = field(object, name, file);
  if (!value.is_string()) refuse(file, fmt::format("\"{}\": expected a string", name));
  return value.get<std::string>();
}

std::uint32_t hex(const std::string& text, const std::string& file) {
  std::uint32_t value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value, 16);
  if (text.size() != 8 || error != std::errc() || at != end) {
    refuse(file, "\"crc32\": expected eight hexadecimal digits");
  }
  return value;
}

}  // namespace

bool Manifest::is_plain_name(const std::string& name) {
  if (name.empty() || name.size() > 128 || name.front() == '.') return false;
  return name.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
         std::string::npos;
}

std::string Manifest::str() const {
  nlohmann::ordered_json list = nlohmann::ordered_json::object();
  for (const auto& [name, entry] : files) {
    list[name] = {{"size", entry.size}, {"crc32", fmt::format("{:08x}", entry.crc32)}};
  }
  const nlohmann::ordered_json json = {{"format", format_name},
                                       {"version", format_version},
                                       {"step", step},
                                       {"config_hash", config_hash},
                                       {"files", list}};
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Manifest Manifest::parse(const std::string& text, const std::string& file) {
  const Json json = parse_json<Json>(text);
  if (!json.is_object()) refuse(file, "expected a JSON object");
  if (text_of(json, "format", file) != format_name) {
    refuse(file, fmt::format("expected \"format\": \"{}\"", format_name));
  }
  if (const auto version = number(json, "version", file); version != format_version) {
    refuse(file, fmt::format("expected version {}; got {}{}", format_version, version,
                             version > format_version ? " (made by a newer ito)" : ""));
  }
  Manifest manifest;
  const std::uint64_t step = number(json, "step", file);
  if (step > INT64_MAX) refuse(file, fmt::format("\"step\": got {}", step));
  manifest.step = static_cast<std::int64_t>(step);
  manifest.config_hash = text_of(json, "config_hash", file);
  const Json& files = field(json, "files", file);
  if (!files.is_object()) refuse(file, "\"files\": expected an object");
  for (const auto& [name, entry] : files.items()) {
    if (!is_plain_name(name)) refuse(file, "\"files\": expected plain file names");
    if (!entry.is_object()) refuse(file, fmt::format("\"{}\": expected an object", name));
    manifest.files[name] = {number(entry, "size", file), hex(text_of(entry, "crc32", file), file)};
  }
  return manifest;
}

}  // namespace ito::nn
