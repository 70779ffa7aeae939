// A configuration file: keys with values in TOML 1.0, read with toml++.
//
//   for (const ConfigEntry& e : read_config_file("train.toml")) ... e.key ... e.text
//
// Keys stand at the top of the file, without tables, as flags do. Whatever is wrong with the file
// throws ProgramError (usage) with a text that names the file, the line and what was found.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace ito::app {

/// The TOML types that a flag can take; everything else (dates, arrays of other things) is `other`.
enum class ConfigType { integer, real, boolean, string, integers, other };

struct ConfigEntry {
  std::string key;   ///< as it stands in the file
  std::size_t line;  ///< from 1
  ConfigType type;
  std::string text;   ///< the value as a command line would have it: 8, 0.5, true, a name, 1,2,4
  std::string shown;  ///< the value for messages: the string "8"
};

/// The entries in the order of the file. No key stands twice: that is an error in TOML.
std::vector<ConfigEntry> read_config_file(const std::string& path);

}  // namespace ito::app
