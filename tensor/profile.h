// Where the time goes: every kernel's launches, named by the layer that asked for them.
//
//   profile::Profile profile;
//   nn::name_layers(profile, unet);              // "down_blocks.0.resnets.1.conv2", ...
//   {
//     const profile::Profiling on(profile);      // what this thread does from here on
//     backward(mse(unet(x_t, t), eps));
//   }
//   fmt::print("{}", profile::tables(profile));  // tensor/profile_report.h
//   profile::write_trace(profile, "step.json");  // for chrome://tracing or ui.perfetto.dev
//
// Kernels are timed in launch() (tensor/launch.h). Layers open a Scope where they begin; nodes of
// the autograd graph remember it, so that the backward pass is counted for the layer whose gradient
// it is. Nothing is recorded outside of a Profiling: a launch then costs one branch that is always
// predicted, and a scope another.
//
// On the CPU a launch is timed from its call to its return, with all the threads it uses. On a
// device it is timed by events in its queue; a recorded graph (tensor/cuda_graph.h) replays without
// launches, so its steps must be run with graphs off to be seen.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <typeindex>
#include <utility>
#include <vector>

#include "tensor/device.h"
#include "tensor/kernels/cost.h"

namespace ito::profile {

enum class Phase : std::uint8_t {
  forward,
  backward,   ///< the formulas of gradients
  recompute,  ///< a layer that runs again for the backward pass (checkpoint)
};

/// A launch of a kernel, or the time a scope was open.
struct Span {
  const char* name;   ///< of the kernel or of the scope
  const char* layer;  ///< the innermost scope around a kernel; null: none
  bool kernel;
  bool on_device;  ///< a kernel timed in the device's queue, not by the host's clock
  Phase phase;
  int depth;                      ///< spans around this one
  std::int64_t begin_ns, end_ns;  ///< from the beginning of the profile
  kernel::Cost cost;              ///< of a kernel

  double seconds() const { return 1e-9 * static_cast<double>(end_ns - begin_ns); }
};

class Profile {
 public:
  Profile();
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  /// From now on a Scope of the object of this type at this address has this name. nn::name_layers
  /// calls it for every module of a network; a module that is moved afterwards has none.
  void name(std::type_index type, const void* module, std::string_view name);

  /// Everything recorded, in the order of beginning.
  const std::vector<Span>& spans() const;
  /// The time within Recordings that have ended, until the device was done with their launches.
  double seconds() const { return seconds_; }
  /// Forgets the spans and the time; names stay.
  void clear();

 private:
  friend class Profiling;
  friend class Scope;
  friend class KernelSpan;
  struct DeviceTimes;

  std::int64_t now() const;
  const char* name_of(std::type_index type, const void* module) const;
  std::size_t open(const char* name, bool kernel, const kernel::Cost& cost);
  void close(std::size_t span);

  std::chrono::steady_clock::time_point start_;
  std::map<std::pair<std::type_index, const void*>, const char*> names_;
  mutable std::vector<Span> spans_;
  std::unique_ptr<DeviceTimes> device_;
  double seconds_ = 0.0;
};

namespace detail {
/// What this thread is doing. `layer` points to text that lives as long as the program.
struct State {
  Profile* profile = nullptr;  // null: nothing is recorded
  const char* layer = nullptr;
  Phase phase = Phase::forward;
  int depth = 0;
  bool in_kernel = false;
};
inline constinit thread_local State state;
}  // namespace detail

/// Whether this thread's launches are recorded.
inline bool enabled() { return detail::state.profile != nullptr; }
/// The innermost scope of this thread, for what runs later on its behalf; null when nothing is
/// recorded.
inline const char* current_layer() { return detail::state.layer; }

/// Records what this thread does while it lives. The profile must outlive it and every scope opened
/// meanwhile; recordings nest, and the innermost one gets the spans.
class Profiling {
 public:
  explicit Profiling(Profile& profile);
  ~Profiling();
  Profiling(const Profiling&) = delete;
  Profiling& operator=(const Profiling&) = delete;

 private:
  detail::State previous_;
  std::int64_t begin_;
};

/// Kernels launched while it lives belong to this layer. Does nothing when nothing is recorded, or
/// when the object has no name.
class Scope {
 public:
  /// A layer, named by Profile::name. Within the backward pass it is one that runs again.
  template <class Module>
  explicit Scope(const Module* module) {
    if (enabled()) [[unlikely]]
      begin(typeid(Module), module);
  }
  /// Part of a program, "loss". The text must live as long as the program.
  explicit Scope(const char* name) {
    if (enabled()) [[unlikely]]
      begin(name, detail::state.phase);
  }
  /// The gradient of a layer: current_layer() of when it ran; null stays in the scope around it.
  Scope(const char* layer, Phase phase) {
    if (enabled()) [[unlikely]]
      begin(layer, phase);
  }
  ~Scope() {
    if (profile_ != nullptr) [[unlikely]]
      end();
  }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  void begin(std::type_index type, const void* module);
  void begin(const char* name, Phase phase);
  void end();

  Profile* profile_ = nullptr;  // null: nothing to undo
  detail::State previous_{};
  std::size_t span_ = none;
  static constexpr std::size_t none = static_cast<std::size_t>(-1);
};

/// launch()'s own: one launch of a kernel. Only while recording.
class KernelSpan {
 public:
  KernelSpan(const char* name, const kernel::Cost& cost, Device device);
  ~KernelSpan();
  KernelSpan(const KernelSpan&) = delete;
  KernelSpan& operator=(const KernelSpan&) = delete;

 private:
  Profile* profile_;  // null: nothing to do
  Device device_;
  std::size_t span_ = 0;
};

}  // namespace ito::profile
