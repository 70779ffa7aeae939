// Tensors in files: the safetensors format, which other programs read and write too.
//
// A file is a u64 (little endian) with the length of the header, the header (JSON: for each tensor
// its dtype, shape and byte range; under "__metadata__" a map of strings) and the tensors' bytes.
//
//   const std::vector<nn::NamedTensor> named = nn::named_parameters(unet);
//   nn::save_safetensors("model.safetensors", named, {{"config", unet.config.to_json()}});
//   const nn::SafeTensors file = nn::load_safetensors("model.safetensors");
//   nn::assign_parameters(named, file);
//
// Files of others hold convolution weights as [O, I, kh, kw]; ito's are [O, kh, kw, I], so permute.
//
// A file is not trusted. Everything its header says is compared with the size of the file before
// memory is asked for; a FormatError names the file and what was expected. What the operating
// system refuses is an IoError. Dtypes are those of ito: F32, F64, BF16, I64, U8. F16 of
// others is read as f32, which has all its values.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "nn/module.h"

namespace ito::nn {

using Metadata = std::map<std::string, std::string>;

/// What a header says of one tensor.
struct TensorInfo {
  std::string name;
  DType dtype;
  Shape shape;
  std::uint64_t begin, end;  ///< bytes, counted from the end of the header
  bool half = false;         ///< F16 in the file; `dtype` is f32, as it will be read
};

struct SafeTensorsHeader {
  std::vector<TensorInfo> tensors;  ///< in the order of their bytes
  Metadata metadata;
  std::uint64_t data_begin = 0;  ///< offset of the first tensor's bytes in the file
};

struct SafeTensors {
  std::string file;                  ///< its name, for messages
  std::vector<NamedTensor> tensors;  ///< on the CPU, in the order of their bytes
  Metadata metadata;

  bool contains(const std::string& name) const;
  /// Throws FormatError when there is none.
  const Tensor& at(const std::string& name) const;
};

/// Limits of the reader (and so of the writer).
inline constexpr std::uint64_t max_header_bytes = 16u << 20;
inline constexpr std::size_t max_tensors = 65536;
inline constexpr std::size_t max_name_bytes = 512;

/// Reads a whole file. Throws IoError, FormatError.
SafeTensors load_safetensors(const std::filesystem::path& path);
/// Reads the header only, for listings; the tensors' bytes are not touched, but must be there.
SafeTensorsHeader load_safetensors_header(const std::filesystem::path& path);
/// The same from memory; `file` stands for the name in messages.
SafeTensors parse_safetensors(std::span<const std::byte> bytes, const std::string& file);
/// Checks a header (its JSON text) against the size of its file.
SafeTensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t file_size,
                                           const std::string& file);

/// Writes the tensors (from any device) beside `path` and renames the complete file to it, so that
/// `path` is never half a file. The same tensors and metadata give the same bytes, in whatever
/// order they come: tensors with larger elements stand first, then they are ordered by name. Throws
/// IoError; ValueError for a name that is used twice, too long, not UTF-8 or has control
/// characters.
void save_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                      const Metadata& metadata = {});

/// Copies the file's tensors into `parameters`: every name exactly once on both sides, with equal
/// shape and dtype. Otherwise throws FormatError with the first ten differences, and nothing has
/// changed. `prefix` stands before the names in the file; the file's other tensors are not looked
/// at when there is one.
void assign_parameters(const std::vector<NamedTensor>& parameters, const SafeTensors& file,
                       const std::string& prefix = "");

class OutputFile;  // nn/files.h

/// The bytes of a file before its tensors: length, JSON, padding. And the order of its tensors.
struct SafeTensorsLayout {
  std::string head;
  std::vector<NamedTensor> tensors;
  std::uint64_t file_size = 0;
};
SafeTensorsLayout safetensors_layout(std::vector<NamedTensor> tensors, const Metadata& metadata);
void write_safetensors(OutputFile& file, const SafeTensorsLayout& layout);

}  // namespace ito::nn
