// Names of the classes of well-known data sets.
//
//   data::class_names("fashion-mnist").at(9);      // "Ankle boot"
#pragma once

#include <string>
#include <vector>

namespace ito::data {

/// By label, for "mnist", "fashion-mnist", "cifar10" and "synthetic"; empty for other names.
std::vector<std::string> class_names(const std::string& dataset);

}  // namespace ito::data
