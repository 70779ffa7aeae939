// The calls to the operating system that saving makes. Programs use `system_files()`; tests derive
// from Files to stop, fail or shorten any one of them.
//
//   struct FullDisk : nn::Files {
//     std::uint64_t free_bytes(const std::filesystem::path&) override { return 0; }
//   };
//   FullDisk full;
//   nn::save_checkpoint("out", step, {}, {.files = &full});      // throws IoError
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace ito::nn {

/// Each call throws IoError with the path and the system's reason.
class Files {
 public:
  virtual ~Files() = default;
  virtual void make_directory(const std::filesystem::path& path);
  /// A new file for writing; it is an error if the path exists. Returns a descriptor.
  virtual int create(const std::filesystem::path& path);
  /// Writes some of the bytes, at least one, and returns how many.
  virtual std::size_t write(int descriptor, std::span<const std::byte> bytes,
                            const std::filesystem::path& path);
  /// Returns when the file's content is on the disk. A failure is final: the system may have
  /// dropped the data, so trying again would only seem to succeed.
  virtual void sync(int descriptor, const std::filesystem::path& path);
  virtual void close(int descriptor, const std::filesystem::path& path);
  /// Returns when the entries of a directory are on the disk.
  virtual void sync_directory(const std::filesystem::path& path);
  virtual void rename(const std::filesystem::path& from, const std::filesystem::path& to);
  /// Returns false where the file system has no links.
  virtual bool symlink(const std::filesystem::path& target, const std::filesystem::path& path);
  /// A file or a directory with all it holds; nothing happens when there is none.
  virtual void remove(const std::filesystem::path& path);
  /// Bytes that may still be written below `path`.
  virtual std::uint64_t free_bytes(const std::filesystem::path& path);
};

Files& system_files();

/// A file being written: every write is complete, and its size and checksum are known at the end.
/// Closes without a word when destroyed before finish().
class OutputFile {
 public:
  OutputFile(Files& files, std::filesystem::path path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }
  /// Syncs and closes.
  void finish();

  std::uint64_t size() const { return size_; }
  std::uint32_t crc32() const { return crc_; }

 private:
  Files& files_;
  std::filesystem::path path_;
  int descriptor_;
  std::uint64_t size_ = 0;
  std::uint32_t crc_ = 0;
};

/// A file being read. Only regular files are opened.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::uint64_t size() const { return size_; }
  std::string name() const { return path_.string(); }
  /// Exactly bytes.size() bytes from `offset` on. Throws FormatError when the file ends before.
  void read(std::uint64_t offset, std::span<std::byte> bytes) const;

 private:
  std::filesystem::path path_;
  int descriptor_;
  std::uint64_t size_ = 0;
};

/// CRC-32 (as in gzip and PNG) of a whole file, read once.
std::uint32_t crc32_of(const InputFile& file);
/// A whole file as text. Throws FormatError when it is larger than `max_bytes`.
std::string read_text(const std::filesystem::path& path, std::uint64_t max_bytes);

}  // namespace ito::nn
