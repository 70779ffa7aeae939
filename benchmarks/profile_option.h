// --profile[=FILE] of the benchmarks: where the time went, by kernel and by layer, and a trace.
//
//   bench::ProfileOption profile;
//   profile.add_to(app);
//   nn::name_layers(profile.profile, unet);
//   {
//     const auto recording = profile.record();
//     steps();
//   }
//   profile.print(5, device);
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "tensor/device.h"
#include "tensor/profile.h"

namespace ito::bench {

class ProfileOption {
 public:
  profile::Profile profile;

  void add_to(CLI::App& app);
  /// Whether the option was given. Then work must not be replayed from graphs.
  bool on() const { return option_->count() > 0; }
  /// Records while the result lives, when the option was given.
  std::unique_ptr<profile::Profiling> record();
  /// Tables of the mean of so many steps; on the CPU with shares of what this machine can do, which
  /// is measured now. Writes the trace when a file was named. Throws IoError. Nothing when the
  /// option was not given.
  void print(int steps, Device device) const;

 private:
  const CLI::Option* option_ = nullptr;
  std::string file_;
};

}  // namespace ito::bench
