// Names of the classes of well-known data sets.
#pragma once

#include <string>
#include <vector>

namespace ito::data {

/// By label, for "mnist", "fashion-mnist", "cifar10" and "synthetic"; empty for other names.
std::vector<std::string> class_names(const std::string& dataset);

}  // namespace ito::data
