// Memory of tensors: aligned blocks, returned to a cache when freed, and counted.
//
// The CPU keeps freed blocks by size, because a training step asks for the same sizes again and
// fresh pages from the system cost more than many kernels. Under AddressSanitizer the cache is off,
// so that a use after free is found.
#pragma once

#include <cstddef>

#include "tensor/device.h"

namespace ito::memory {

inline constexpr std::size_t alignment = 64;  ///< bytes; one cache line, one AVX-512 register

struct Usage {
  std::size_t current;  ///< bytes in live tensors
  std::size_t peak;     ///< largest `current` since the start or the last reset_peak
  std::size_t cached;   ///< bytes kept for reuse, in no tensor
};

/// A block of at least `bytes` bytes on `device`. Throws MemoryError with the bytes asked for, in
/// use and cached; DeviceError if the device is not available.
void* allocate(Device device, std::size_t bytes);
/// Gives back a block of `allocate`, with the same `bytes`.
void release(Device device, void* block, std::size_t bytes) noexcept;
/// Copies between any two devices; returns when the destination can be read on its device.
void copy(Device to, void* destination, Device from, const void* source, std::size_t bytes);

Usage usage(Device device = Device::cpu());
void reset_peak(Device device = Device::cpu());
/// Returns cached blocks to the system.
void empty_cache(Device device = Device::cpu());

}  // namespace ito::memory
