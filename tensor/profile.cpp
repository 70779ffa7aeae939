#include "tensor/profile.h"

#include <mutex>
#include <set>

#include "tensor/build.h"
#include "tensor/cuda_graph.h"
#include "tensor/error.h"
#include "tensor/kernels/device_runtime.h"

namespace ito::profile {
namespace {

using detail::state;

// The same text at an address that is never given up: nodes of a graph may outlive a profile.
const char* interned(std::string_view text) {
  static std::mutex mutex;
  static auto& texts = *new std::set<std::string, std::less<>>;
  const std::lock_guard lock(mutex);
  const auto at = texts.find(text);
  return (at != texts.end() ? at : texts.emplace(text).first)->c_str();
}

}  // namespace

// Launches on a device, timed by marks in its queue. Its clock is set by the host's at the first
// one.
struct Profile::DeviceTimes {
  struct Launch {
    std::size_t span;
    std::shared_ptr<cuda::Moment> begin, end;
  };
  std::vector<Launch> launches;
  std::shared_ptr<cuda::Moment> origin;
  std::int64_t origin_ns = 0;

  void begin(std::size_t span, Device device, const Profile& profile) {
    if (!origin) {
      origin = cuda::mark(device.index());
      cuda::seconds_between(*origin, *origin);
      origin_ns = profile.now();
    }
    launches.push_back({span, cuda::mark(device.index()), nullptr});
  }
  // Without an end the launch keeps the times of its call: also when it fails, in a destructor.
  void end(Device device) noexcept {
    try {
      launches.back().end = cuda::mark(device.index());
    } catch (const Error&) {
    }
  }

  void wait() const noexcept {
    try {
      if (!launches.empty() && launches.back().end) {
        cuda::seconds_between(*origin, *launches.back().end);
      }
    } catch (const Error&) {  // what failed on the device is told by whoever asks it next
    }
  }

  // Puts the times of the device in place of those of the calls.
  void resolve(std::vector<Span>& spans) {
    const auto ns = [](const cuda::Moment& from, const cuda::Moment& to) {
      return static_cast<std::int64_t>(1e9 * cuda::seconds_between(from, to));
    };
    for (const Launch& launch : launches) {
      if (!launch.end) continue;
      Span& span = spans[launch.span];
      span.on_device = true;
      span.begin_ns = origin_ns + ns(*origin, *launch.begin);
      span.end_ns = span.begin_ns + ns(*launch.begin, *launch.end);
    }
    launches.clear();
  }
};

Profile::Profile()
    : start_(std::chrono::steady_clock::now()), device_(std::make_unique<DeviceTimes>()) {}

Profile::~Profile() = default;

void Profile::name(std::type_index type, const void* module, std::string_view name) {
  names_[{type, module}] = interned(name);
}

const std::vector<Span>& Profile::spans() const {
  if constexpr (build::cuda) device_->resolve(spans_);
  return spans_;
}

void Profile::clear() {
  spans_.clear();
  device_ = std::make_unique<DeviceTimes>();
  seconds_ = 0.0;
}

std::int64_t Profile::now() const {
  const auto time = std::chrono::steady_clock::now() - start_;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
}

const char* Profile::name_of(std::type_index type, const void* module) const {
  const auto at = names_.find({type, module});
  return at == names_.end() ? nullptr : at->second;
}

std::size_t Profile::open(const char* name, bool kernel, const kernel::Cost& cost) {
  spans_.push_back({name, state.layer, kernel, false, state.phase, state.depth++, 0, 0, cost});
  spans_.back().begin_ns = spans_.back().end_ns = now();
  return spans_.size() - 1;
}

void Profile::close(std::size_t span) {
  spans_[span].end_ns = now();
  --state.depth;
}

Profiling::Profiling(Profile& profile) : previous_(state), begin_(profile.now()) {
  state = {};
  state.profile = &profile;
}

Profiling::~Profiling() {
  Profile& profile = *state.profile;
  if constexpr (build::cuda) profile.device_->wait();
  profile.seconds_ += 1e-9 * static_cast<double>(profile.now() - begin_);
  state = previous_;
}

void Scope::begin(std::type_index type, const void* module) {
  const char* name = state.profile->name_of(type, module);
  if (name == nullptr) return;
  begin(name, state.phase == Phase::forward ? Phase::forward : Phase::recompute);
}

void Scope::begin(const char* name, Phase phase) {
  profile_ = state.profile;
  previous_ = state;
  state.phase = phase;
  if (name == nullptr) return;
  state.layer = name;
  span_ = profile_->open(name, false, {});
}

void Scope::end() {
  if (span_ != none) profile_->close(span_);
  state = previous_;
}

// Not recorded: the kernels that another one is made of, and launches that a graph only notes down.
KernelSpan::KernelSpan(const char* name, const kernel::Cost& cost, Device device)
    : profile_(state.in_kernel || capturing() ? nullptr : state.profile), device_(device) {
  if (profile_ == nullptr) return;
  span_ = profile_->open(name, true, cost);
  state.in_kernel = true;
  if constexpr (build::cuda) {
    if (device_.is_cuda()) profile_->device_->begin(span_, device_, *profile_);
  }
}

KernelSpan::~KernelSpan() {
  if (profile_ == nullptr) return;
  if constexpr (build::cuda) {
    if (device_.is_cuda()) profile_->device_->end(device_);
  }
  profile_->close(span_);
  state.in_kernel = false;
}

}  // namespace ito::profile
