// The IDX format of MNIST: a big-endian header (two zero bytes, element type, rank, then the size
// of each axis as a 32-bit number) and the elements, row-major. ito reads unsigned bytes (type
// 0x08), from a plain file or inside gzip.
//
//   const Tensor images = data::read_idx("train-images-idx3-ubyte.gz", 3);   // u8[60000, 28, 28]
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/bytes.h"
#include "tensor/tensor.h"

namespace ito::data {

/// The file's tensor. `rank` = 3 asks for images, 1 for labels, 0 for anything; with another rank
/// the error says that the files look swapped. Throws IoError; FormatError for a wrong magic
/// number, element type or rank, an axis of size 0, sizes that overflow, a file shorter or longer
/// than the header says, and everything DecodedReader refuses.
Tensor read_idx(const std::filesystem::path& path, int rank = 0);
/// The same from bytes in memory; `name` stands in for the path.
Tensor parse_idx(ByteSpan bytes, const std::string& name, int rank = 0);

}  // namespace ito::data
