// The option --conv of the benchmarks: which algorithm computes convolutions on the CPU.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>

#include "tensor/kernels/conv_plan.h"

namespace ito::bench {

/// Adds --conv, which sets the algorithm as soon as it is read.
inline void add_conv_option(CLI::App& app) {
  using kernel::ConvAlgorithm;
  static const std::map<std::string, ConvAlgorithm> names{{"auto", ConvAlgorithm::automatic},
                                                          {"direct", ConvAlgorithm::direct},
                                                          {"winograd", ConvAlgorithm::winograd},
                                                          {"winograd2", ConvAlgorithm::winograd_2},
                                                          {"winograd4", ConvAlgorithm::winograd_4}};
  app.add_option_function<std::string>(
         "--conv", [](const std::string& name) { kernel::set_conv_algorithm(names.at(name)); },
         "algorithm of 3x3 convolutions on the CPU: auto, direct, winograd, winograd2, winograd4")
      ->check(CLI::IsMember(names))
      ->default_str("auto");
}

}  // namespace ito::bench
