#include "nn/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "tensor/error.h"

namespace ito::nn {
namespace {

using Path = std::filesystem::path;

constexpr std::size_t block = 1 << 20;  // bytes of one read or write

[[noreturn]] void fail_io(const char* what, const Path& path, int error = errno) {
  fail<IoError>("{}: cannot {}: {}", path.string(), what, std::generic_category().message(error));
}

std::uint32_t update_crc(std::uint32_t crc, std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(
      ::crc32_z(crc, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

}  // namespace

void Files::make_directory(const Path& path) {
  if (::mkdir(path.c_str(), 0777) != 0) fail_io("create the directory", path);
}

int Files::create(const Path& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) fail_io("create", path);
  return descriptor;
}

std::size_t Files::write(int descriptor, std::span<const std::byte> bytes, const Path& path) {
  for (;;) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written > 0) return static_cast<std::size_t>(written);
    if (written == 0) fail_io("write", path, EIO);
    if (errno != EINTR) fail_io("write", path);
  }
}

void Files::sync(int descriptor, const Path& path) {
  if (::fsync(descriptor) != 0) fail_io("sync", path);
}

void Files::close(int descriptor, const Path& path) {
  // After EINTR the descriptor is closed all the same; closing again could hit another file.
  if (::close(descriptor) != 0 && errno != EINTR) fail_io("close", path);
}

void Files::sync_directory(const Path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail_io("open the directory", path);
  const int result = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  // Some file systems cannot sync a directory and say so with EINVAL.
  if (result != 0 && error != EINVAL) fail_io("sync the directory", path, error);
}

void Files::rename(const Path& from, const Path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail_io(("rename to " + to.string()).c_str(), from);
}

bool Files::symlink(const Path& target, const Path& path) {
  if (::symlink(target.c_str(), path.c_str()) == 0) return true;
  if (errno == EPERM || errno == ENOTSUP || errno == ENOSYS) return false;
  fail_io("create the link", path);
}

void Files::remove(const Path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) fail_io("remove", path, error.value());
}

std::uint64_t Files::free_bytes(const Path& path) {
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0) fail_io("ask for the free space of", path);
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

Files& system_files() {
  static Files files;
  return files;
}

// ---- writing
// -------------------------------------------------------------------------------------

OutputFile::OutputFile(Files& files, Path path)
    : files_(files), path_(std::move(path)), descriptor_(files.create(path_)) {}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  try {
    files_.close(descriptor_, path_);
  } catch (...) {  // the writer has failed already and says why
  }
}

void OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), block));
    const auto done = bytes.first(files_.write(descriptor_, part, path_));
    crc_ = update_crc(crc_, done);
    size_ += done.size();
    bytes = bytes.subspan(done.size());
  }
}

void OutputFile::finish() {
  files_.sync(descriptor_, path_);
  files_.close(std::exchange(descriptor_, -1), path_);
}

// ---- reading
// -------------------------------------------------------------------------------------

InputFile::InputFile(const Path& path) : path_(path) {
  // Without O_NONBLOCK opening a named pipe would wait for a writer.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) fail_io("open", path);
  struct stat info {};
  if (::fstat(descriptor_, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(descriptor_);
    fail<IoError>("{}: cannot read: not a regular file", path.string());
  }
  size_ = static_cast<std::uint64_t>(info.st_size);
}

InputFile::~InputFile() { ::close(descriptor_); }

void InputFile::read(std::uint64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t count = ::pread(descriptor_, bytes.data(),
                                  std::min<std::size_t>(bytes.size(), std::size_t{1} << 30),
                                  static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_io("read", path_);
    if (count == 0) {
      fail<FormatError>("{}: offset {}: expected {} more bytes; got the end of the file", name(),
                        offset, bytes.size());
    }
    offset += static_cast<std::uint64_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

std::uint32_t crc32_of(const InputFile& file) {
  std::vector<std::byte> buffer(block);
  std::uint32_t crc = 0;
  for (std::uint64_t at = 0; at < file.size();) {
    const auto part = std::span(buffer).first(std::min<std::uint64_t>(block, file.size() - at));
    file.read(at, part);
    crc = update_crc(crc, part);
    at += part.size();
  }
  return crc;
}

std::string read_text(const Path& path, std::uint64_t max_bytes) {
  const InputFile file(path);
  if (file.size() > max_bytes) {
    fail<FormatError>("{}: expected at most {} bytes; got {}", file.name(), max_bytes, file.size());
  }
  std::string text(file.size(), '\0');
  file.read(0, std::as_writable_bytes(std::span(text.data(), text.size())));
  return text;
}

}  // namespace ito::nn
