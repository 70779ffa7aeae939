// What a profile (tensor/profile.h) says: sums by kernel and by layer, tables of them, and a trace.
//
//   profile::Profile profile;                         // of 10 steps, recorded as in profile.h
//   fmt::print("{}", profile::tables(profile, 10));
//   for (const auto& [kernel, total] : profile::by_kernel(profile))
//     fmt::print("{} {}\n", kernel, total.seconds);
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tensor/profile.h"

namespace ito::profile {

struct Total {
  std::int64_t launches = 0;
  double seconds = 0.0, flops = 0.0, bytes = 0.0;

  void add(const Span& kernel);
  void add(const Total& other);
};

struct KernelTotal {
  std::string kernel;
  Total total;
};

/// The kernels of a layer itself: those of the layers within it are theirs.
struct LayerTotal {
  std::string layer;  ///< empty: outside of all scopes
  Total forward, backward, recompute;

  Total all() const;
};

/// Longest time first.
std::vector<KernelTotal> by_kernel(const Profile& profile);
/// In the order in which the layers first ran.
std::vector<LayerTotal> by_layer(const Profile& profile);
/// All kernels together. What is missing to profile.seconds() was spent outside kernels: in the
/// engine, in allocation, in copies between tensors.
Total all_kernels(const Profile& profile);

/// What the machine can do, for the columns of shares; 0: not known.
struct Peak {
  double flops = 0.0;  ///< per second
  double bytes = 0.0;  ///< per second
};

/// Two tables as text, by kernel and by layer, of the mean of `steps` equal steps.
std::string tables(const Profile& profile, int steps = 1, const Peak& peak = {});

/// The spans in the Trace Event Format that chrome://tracing and ui.perfetto.dev read. Throws
/// IoError.
std::string trace(const Profile& profile);
void write_trace(const Profile& profile, const std::string& path);

}  // namespace ito::profile
