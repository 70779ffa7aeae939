#include "examples/app/files.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "examples/app/exit_codes.h"

namespace ito::app {

namespace fs = std::filesystem;

std::string extension_of(const std::string& file) {
  std::string extension = fs::path(file).extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

void expect_output(const char* flag, const std::string& file, const std::string& extension) {
  if (file.empty()) return;
  if (!extension.empty() && extension_of(file) != extension) {
    stop(ExitCode::usage, "{} must end in {}; got {}", flag, extension, file);
  }
  std::error_code error;
  if (fs::is_directory(file, error)) {
    stop(ExitCode::usage, "{} {}: must be a file; this is a folder", flag, file);
  }
  const fs::path folder = fs::path(file).has_parent_path() ? fs::path(file).parent_path() : ".";
  fs::create_directories(folder, error);
  if (!error && ::access(folder.c_str(), W_OK | X_OK) != 0) {
    error.assign(errno, std::generic_category());
  }
  if (error) {
    stop(ExitCode::resource, "{} {}: cannot write in {}: {}", flag, file, folder.string(),
         error.message());
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

}  // namespace ito::app
