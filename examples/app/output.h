// Text for people. A terminal or pipe that has gone away is no reason to stop: errors are ignored.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>

namespace ito::app {

/// Formats and writes to stdout or stderr.
template <class... A>
void print(std::FILE* to, fmt::format_string<A...> text, A&&... args) {
  const std::string line = fmt::format(text, std::forward<A>(args)...);
  std::fwrite(line.data(), 1, line.size(), to);
}

}  // namespace ito::app
