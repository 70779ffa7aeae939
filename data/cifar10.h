// One file of CIFAR-10's binary version. data/dataset.h puts the files together.
//
//   const data::CifarBatch batch = data::read_cifar_batch("data_batch_1.bin");
//   batch.images;      // u8 [10000, 32, 32, 3]
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/bytes.h"
#include "tensor/tensor.h"

namespace ito::data {

struct CifarBatch {
  Tensor images;  ///< u8 [N, 32, 32, 3]
  Tensor labels;  ///< i64 [N]
};

inline constexpr std::uint64_t cifar_record = 3073;  ///< bytes: a label and 3 x 32 x 32 values

/// Throws IoError; FormatError unless the file is one or more records with labels 0 to 9.
CifarBatch read_cifar_batch(const std::filesystem::path& path);
/// The same from bytes in memory; `name` stands in for the path.
CifarBatch parse_cifar_batch(ByteSpan bytes, const std::string& name);

}  // namespace ito::data
