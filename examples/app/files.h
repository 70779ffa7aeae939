// Small files: whole reads, and writes that leave either the old file or the new one.
#pragma once

#include <string>
#include <string_view>

namespace ito::app {

/// The whole file. Throws IoError.
std::string read_text(const std::string& path);

/// Writes `path` through a temporary file beside it, fsync and rename. Throws IoError; the old file
/// is then untouched and the temporary one removed.
void write_text_atomic(const std::string& path, std::string_view text);

/// Text of errno for messages: "No space left on device".
std::string errno_text(int error);

/// "12.3 MB"; decimal units.
std::string human_bytes(double bytes);

}  // namespace ito::app
