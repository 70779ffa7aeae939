// What the tests of data/ share: temporary folders, and files made byte by byte without data/'s
// code.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "data/bytes.h"

namespace support {

using ito::data::Bytes;

/// A new folder that is removed at the end of the scope.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "ito_data_XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_bytes(const std::filesystem::path& path, const Bytes& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

inline Bytes read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

inline Bytes text_bytes(const std::string& text) { return Bytes(text.begin(), text.end()); }

/// One gzip member.
inline Bytes gzip(const Bytes& content) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY);
  Bytes packed(deflateBound(&stream, content.size()) + 32);
  stream.next_in = const_cast<Bytes&>(content).data();
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

/// An IDX file with the given header; `content` follows as it is.
inline Bytes idx_file(std::uint32_t magic, const std::vector<std::uint32_t>& sizes,
                      const Bytes& content) {
  Bytes file;
  const auto put = [&](std::uint32_t value) {
    for (const int shift : {24, 16, 8, 0})
      file.push_back(static_cast<std::uint8_t>(value >> shift));
  };
  put(magic);
  for (const std::uint32_t size : sizes) put(size);
  file.insert(file.end(), content.begin(), content.end());
  return file;
}

/// 0, 1, 2, ... modulo `modulus`.
inline Bytes ramp(std::size_t count, unsigned modulus = 256) {
  Bytes bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::uint8_t>(i % modulus);
  return bytes;
}

/// The text of the E that `f` throws; says so when it throws nothing or something else.
template <class E, class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another kind of error: ") + error.what();
  }
  return "no error";
}

}  // namespace support

/// The expression throws `type`, with `text` in its message.
#define CHECK_REFUSED(expression, type, text)                                               \
  CHECK_MESSAGE(                                                                            \
      support::error_of<type>([&] { (void)(expression); }).find(text) != std::string::npos, \
      support::error_of<type>([&] { (void)(expression); }))
