// Sizes for people, and the file functions that programs use most.
#pragma once

#include <string>

#include "data/bytes.h"

namespace ito::app {

using data::read_text;
using data::write_text;

/// Makes the folder in which `file` is to be written. Says nothing: writing the file tells what is
/// wrong.
void make_folder_of(const std::string& file);

/// "12.3 MB"; decimal units.
std::string human_bytes(double bytes);

}  // namespace ito::app
