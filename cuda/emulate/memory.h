// The memory of the emulated device.
#pragma once

#include <cstddef>

namespace ito::emulate {

// While one lives, memory of the device may be touched (kernels, copies, cuBLAS). Otherwise
// AddressSanitizer reports who does.
struct DeviceMemoryOpen {
  DeviceMemoryOpen();
  ~DeviceMemoryOpen();
  DeviceMemoryOpen(const DeviceMemoryOpen&) = delete;
  DeviceMemoryOpen& operator=(const DeviceMemoryOpen&) = delete;
};

}  // namespace ito::emulate
