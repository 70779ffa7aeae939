#include "examples/app/config_file.h"

// In this file alone, so that programs need no library of it at run time.
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "examples/app/exit_codes.h"
#include "examples/app/files.h"

namespace ito::app {
namespace {

bool all_integers(const toml::array& array) {
  return std::all_of(array.begin(), array.end(),
                     [](const toml::node& n) { return n.is_integer(); });
}

std::string comma_list(const toml::array& array) {
  std::string text;
  for (const toml::node& n : array) {
    text += fmt::format("{}{}", text.empty() ? "" : ",", n.as_integer()->get());
  }
  return text;
}

ConfigEntry entry(const std::string& key, std::size_t line, const toml::node& node) {
  if (const auto* n = node.as_integer()) {
    const std::string text = std::to_string(n->get());
    return {key, line, ConfigType::integer, text, text};
  }
  if (const auto* x = node.as_floating_point()) {
    // {} writes 8.0 as 8; a message must not say that 8 is no whole number.
    const std::string text = fmt::format("{}", x->get());
    const bool looks_whole = text.find_first_not_of("-0123456789") == std::string::npos;
    return {key, line, ConfigType::real, text, looks_whole ? text + ".0" : text};
  }
  if (const auto* b = node.as_boolean()) {
    const std::string text = b->get() ? "true" : "false";
    return {key, line, ConfigType::boolean, text, text};
  }
  if (const auto* s = node.as_string()) {
    return {key, line, ConfigType::string, s->get(), fmt::format("the string \"{}\"", s->get())};
  }
  if (const auto* a = node.as_array(); a != nullptr && all_integers(*a)) {
    const std::string text = comma_list(*a);
    return {key, line, ConfigType::integers, text, fmt::format("the array [{}]", text)};
  }
  const char* shown = node.is_array() ? "an array of other things" : "a date or time";
  return {key, line, ConfigType::other, "", shown};
}

// The first value inside a table, as a dotted key: model.channels.
std::string first_key(std::string path, const toml::table& table) {
  if (table.empty()) return path;
  const auto first = table.begin();
  path += "." + std::string(first->first.str());
  return first->second.is_table() ? first_key(path, *first->second.as_table()) : path;
}

}  // namespace

std::vector<ConfigEntry> read_config_file(const std::string& path) {
  if (!std::filesystem::exists(path)) {
    stop(ExitCode::usage, "--config {}: cannot open this file", path);
  }
  const std::string text = with_exit_code(ExitCode::usage, [&] { return read_text(path); });
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& e) {
    const std::string what(e.description());
    const bool bare_word = what.find("could not determine value type") != std::string::npos;
    stop(ExitCode::usage, "--config {}, line {}: this is not TOML: {}{}", path,
         e.source().begin.line, what, bare_word ? "; text needs quotes: name = \"text\"" : "");
  }
  std::vector<ConfigEntry> entries;
  for (const auto& [name, node] : table) {
    const std::string key(name.str());
    const std::size_t line = name.source().begin.line;
    const toml::array* array = node.as_array();
    if (array != nullptr && array->is_array_of_tables() && !array->empty()) {
      stop(ExitCode::usage,
           "--config {}, line {}: tables are not used here; got [[{}]]. "
           "Write keys only, for example: batch = 64",
           path, line, key);
    }
    if (node.is_table()) {
      stop(ExitCode::usage,
           "--config {}, line {}: tables are not used here; got {}. "
           "Write keys only, for example: batch = 64",
           path, line, first_key(key, *node.as_table()));
    }
    entries.push_back(entry(key, line, node));
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.line < b.line; });
  return entries;
}

}  // namespace ito::app
