#include "data/bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>

#include "tensor/error.h"

namespace ito::data {
namespace {

std::string reason(int error) { return std::generic_category().message(error); }

}  // namespace

struct ByteReader::File {
  explicit File(int descriptor) : fd(descriptor) {}
  ~File() { ::close(fd); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd;
};

ByteReader ByteReader::open(const std::filesystem::path& path) {
  ByteReader reader;
  reader.name_ = path.string();
  // O_NONBLOCK: opening a named pipe must not wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail<IoError>("{}: cannot be opened: {}", reader.name_, reason(errno));
  reader.file_ = std::make_shared<File>(fd);
  struct stat status {};
  if (::fstat(fd, &status) != 0) {
    fail<IoError>("{}: cannot be examined: {}", reader.name_, reason(errno));
  }
  if (!S_ISREG(status.st_mode)) {
    fail<IoError>("{}: expected a file; got {}", reader.name_,
                  S_ISDIR(status.st_mode) ? "a folder" : "a device, pipe or socket");
  }
  reader.size_ = static_cast<std::uint64_t>(status.st_size);
  return reader;
}

ByteReader::ByteReader(ByteSpan memory, std::string name)
    : name_(std::move(name)), size_(memory.size()), memory_(memory) {}

std::size_t ByteReader::read(std::span<std::uint8_t> out) {
  if (!file_) {
    const std::size_t count = std::min(out.size(), memory_.size());
    std::copy_n(memory_.begin(), count, out.begin());
    memory_ = memory_.subspan(count);
    return count;
  }
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = ::read(file_->fd, out.data() + done, out.size() - done);
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail<IoError>("{}: reading failed: {}", name_, reason(errno));
    done += static_cast<std::size_t>(got);
  }
  return done;
}

bool looks_like_web_page(ByteSpan head) {
  std::string text;
  for (const std::uint8_t byte : head.first(std::min<std::size_t>(head.size(), 256))) {
    const bool byte_order_mark = byte == 0xEF || byte == 0xBB || byte == 0xBF;
    const bool blank = byte == ' ' || (byte >= '\t' && byte <= '\r');
    if (text.empty() && (byte_order_mark || blank)) continue;
    text += static_cast<char>(byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte);
  }
  for (const char* start : {"<!doctype", "<html", "<head", "<?xml", "<!--"}) {
    if (text.starts_with(start)) return true;
  }
  return false;
}

void refuse_web_page(ByteSpan head, const std::string& name) {
  if (looks_like_web_page(head)) {
    fail<FormatError>("{}: this is a web page: the download failed; delete it and fetch it again",
                      name);
  }
}

Bytes read_file(const std::filesystem::path& path, std::uint64_t limit) {
  ByteReader reader = ByteReader::open(path);
  if (reader.size() > limit) {
    fail<FormatError>("{}: expected at most {} bytes; got {}", reader.name(), limit, reader.size());
  }
  Bytes bytes(static_cast<std::size_t>(reader.size()));
  bytes.resize(reader.read(bytes));
  return bytes;
}

void write_file(const std::filesystem::path& path, ByteSpan bytes) {
  static std::atomic<unsigned> counter{0};
  const std::string temporary =
      fmt::format("{}.tmp-{}-{}", path.string(), ::getpid(), counter.fetch_add(1));
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) fail<IoError>("{}: cannot be written: {}", path.string(), reason(errno));
  int error = 0;
  while (!bytes.empty() && error == 0) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(temporary.c_str());
    fail<IoError>("{}: cannot be written: {}", path.string(), reason(error));
  }
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail<IoError>("{}: cannot open: {}", path, reason(errno));
  std::ostringstream text;
  text << file.rdbuf();
  if (file.bad()) fail<IoError>("{}: cannot read: {}", path, reason(errno));
  return std::move(text).str();
}

void write_text(const std::string& path, std::string_view text) {
  write_file(path, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

}  // namespace ito::data
