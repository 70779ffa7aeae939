// What a data file or picture contains, in words.
//
//   fmt::print("{}", data::describe_file("train-images-idx3-ubyte.gz"));
#pragma once

#include <filesystem>
#include <string>

namespace ito::data {

/// Some lines of text about an IDX file (plain or gzip), a CIFAR-10 batch or a PNG, recognised by
/// its content: shape, value range and mean, how many images each label has, text chunks, frames.
/// Throws IoError; FormatError for damaged files and for other kinds of files.
std::string describe_file(const std::filesystem::path& path);

}  // namespace ito::data
