#include "examples/app/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <system_error>

#include "tensor/error.h"

namespace ito::app {
namespace {

void write_all(int file, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail<IoError>("{}: cannot write: {}", path, errno_text(errno));
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(file) != 0) fail<IoError>("{}: cannot write: {}", path, errno_text(errno));
}

}  // namespace

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
  const std::string temporary = fmt::format("{}.tmp-{}", path, ::getpid());
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) fail<IoError>("{}: cannot create: {}", temporary, errno_text(errno));
  try {
    write_all(file, text, path);
  } catch (...) {
    ::close(file);
    ::unlink(temporary.c_str());
    throw;
  }
  if (::close(file) != 0 || ::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    fail<IoError>("{}: cannot write: {}", path, errno_text(error));
  }
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

std::string fingerprint(const void* data, std::size_t bytes) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto* p = static_cast<const unsigned char*>(data);
  for (std::size_t i = 0; i < bytes; ++i) hash = (hash ^ p[i]) * 0x100000001b3u;
  return fmt::format("{:016x}", hash);
}

}  // namespace ito::app
