// Text for people. A terminal or pipe that has gone away is no reason to stop; a disk that is full
// is an error when the program ends (exit_codes.h).
//
//   app::print(stdout, "{} images\n", n);
#pragma once

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <string>

namespace ito::app {

/// The errno of the first write to stdout that failed; 0: none.
inline int stdout_error = 0;
inline void note_stdout_error(bool written) {
  if (!written && stdout_error == 0) stdout_error = errno;
}

/// Formats and writes to stdout or stderr.
template <class... A>
void print(std::FILE* to, fmt::format_string<A...> text, A&&... args) {
  const std::string line = fmt::format(text, std::forward<A>(args)...);
  const bool written = std::fwrite(line.data(), 1, line.size(), to) == line.size();
  if (to == stdout) note_stdout_error(written);
}

}  // namespace ito::app
