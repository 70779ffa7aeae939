// Sizes for people, and the file functions that programs use most.
#pragma once

#include <string>

#include "data/bytes.h"

namespace ito::app {

using data::read_text;
using data::write_text;

/// Checks, before the work begins, that the file of a flag can be written at its end: that its name
/// has the extension (".png", in either case; "": any) and its folder, which is made, can be
/// written in. An empty name is no output. Throws ProgramError: usage for the name, resource for
/// the folder.
void expect_output(const char* flag, const std::string& file, const std::string& extension = "");

/// ".PNG" of "x.PNG" as ".png".
std::string extension_of(const std::string& file);

/// "12.3 MB"; decimal units.
std::string human_bytes(double bytes);

}  // namespace ito::app
