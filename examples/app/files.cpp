#include "examples/app/files.h"

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <system_error>

#include "data/bytes.h"
#include "tensor/error.h"

namespace ito::app {
std::string errno_text(int error) { return std::generic_category().message(error); }

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail<IoError>("{}: cannot open: {}", path, errno_text(errno));
  std::ostringstream text;
  text << file.rdbuf();
  if (file.bad()) fail<IoError>("{}: cannot read: {}", path, errno_text(errno));
  return std::move(text).str();
}

void write_text_atomic(const std::string& path, std::string_view text) {
  data::write_file(path, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

std::string human_bytes(double bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  int unit = 0;
  while (bytes >= 999.5 && unit < 4) {
    bytes /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.3g} {}", bytes, units[unit]);
}

}  // namespace ito::app
