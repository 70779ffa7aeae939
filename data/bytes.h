// Bytes of files: reading with checked sizes and gzip, writing all or nothing.
//
// Every file is untrusted. A reader never allocates what a header claims before comparing it with
// what the file can hold, and every error names the file. Not for text that people edit: use
// std::ifstream.
//
//   data::DecodedReader file(data::ByteReader::open("train-images-idx3-ubyte.gz"));
//   data::Bytes header(16);
//   if (file.read(header) < header.size()) fail<FormatError>("{}: too short", file.name());
//   data::write_file("header", header);      // the old file or the new one, never half of it
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ito::data {

using Bytes = std::vector<std::uint8_t>;
using ByteSpan = std::span<const std::uint8_t>;

/// Bytes that one byte of the deflate format becomes at most.
inline constexpr std::uint64_t largest_expansion = 1032;

/// Reads a regular file, or bytes in memory, from front to back.
class ByteReader {
 public:
  /// Throws IoError when the file is missing, not readable or not a regular file.
  static ByteReader open(const std::filesystem::path& path);
  /// `name` stands in for the path in messages. The bytes must outlive the reader.
  ByteReader(ByteSpan memory, std::string name);

  /// Fills `out` and returns its size; fewer bytes only at the end of the file. Throws IoError.
  std::size_t read(std::span<std::uint8_t> out);
  std::uint64_t size() const { return size_; }  ///< bytes of the whole file
  const std::string& name() const { return name_; }

 private:
  struct File;
  ByteReader() = default;

  std::string name_;
  std::uint64_t size_ = 0;
  std::shared_ptr<File> file_;  // none: the bytes are in memory
  ByteSpan memory_;
};

/// The same, with the content of a gzip file (recognised by its first two bytes) decompressed as it
/// is read; several members in a row are one content. Check values are verified when the end is
/// reached, so read until `read` returns fewer bytes than asked. Throws FormatError for damaged,
/// truncated or continued-with-garbage gzip data, with the offset in the file.
class DecodedReader {
 public:
  explicit DecodedReader(ByteReader source);
  ~DecodedReader();
  DecodedReader(DecodedReader&&) noexcept;
  DecodedReader& operator=(DecodedReader&&) noexcept;

  std::size_t read(std::span<std::uint8_t> out);
  bool compressed() const;
  /// No content can be longer than this: the file's size, or 1032 times that for gzip, which is the
  /// most that the deflate format can expand.
  std::uint64_t size_limit() const;
  const std::string& name() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Whether the bytes begin like HTML: what a failed download often leaves behind.
bool looks_like_web_page(ByteSpan head);
/// Throws FormatError "<name>: this is a web page: the download failed" when they do.
void refuse_web_page(ByteSpan head, const std::string& name);

/// The whole file. Throws IoError, and FormatError when it is larger than `limit` bytes.
Bytes read_file(const std::filesystem::path& path, std::uint64_t limit);

/// Writes a temporary file beside `path` and renames it: readers see the old file or the new one,
/// and after an error neither the temporary file nor half a file is left. Throws IoError with the
/// system's reason.
void write_file(const std::filesystem::path& path, ByteSpan bytes);

/// Big-endian numbers, as in IDX and PNG.
inline std::uint32_t load_u32(const std::uint8_t* p) {
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
}
inline void append_u32(Bytes& bytes, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<std::uint8_t>(value >> shift));
  }
}

/// A whole file as text. Throws IoError.
std::string read_text(const std::string& path);
/// write_file() of text.
void write_text(const std::string& path, std::string_view text);

}  // namespace ito::data
