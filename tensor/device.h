// Where a tensor lives. `Device::cpu()` is always there; `Device::cuda()` needs a build with
// ITO_CUDA=ON (a real GPU) or ITO_CUDA=EMULATE.
//
//   const Device device = available(Device::cuda()) ? Device::cuda() : Device::cpu();
//   const Tensor there = x.to(device);
#pragma once

#include <cstdint>
#include <string>

namespace ito {

class Device {
 public:
  enum class Kind : std::uint8_t { cpu, cuda };

  constexpr Device() = default;
  static constexpr Device cpu() { return {}; }
  static constexpr Device cuda(int index = 0) { return Device(Kind::cuda, index); }

  constexpr bool is_cpu() const { return kind_ == Kind::cpu; }
  constexpr bool is_cuda() const { return kind_ == Kind::cuda; }
  constexpr int index() const { return index_; }
  std::string str() const;  ///< "cpu" or "cuda:0"

  friend constexpr bool operator==(Device, Device) = default;

 private:
  constexpr Device(Kind kind, int index) : kind_(kind), index_(index) {}
  Kind kind_ = Kind::cpu;
  int index_ = 0;
};

/// Whether tensors can be made on `device` now: the build has the backend and a device answers.
bool available(Device device);

/// One line that says why `device` is not available; empty when it is.
std::string why_unavailable(Device device);

}  // namespace ito
