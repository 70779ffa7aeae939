// Memory of tensors: aligned blocks, returned to a cache when freed, and counted.
//
// Freed blocks are kept, because a training step asks for the same sizes again and fresh pages from
// the system cost more than many kernels: small ones by size, large ones in an arena that cuts and
// merges them (tensor/arena.h). So does the device (cuda/allocator.h).
// Under sanitizers the caches are off, so that a use after free is found.
//
//   memory::reset_peak();
//   const Tensor y = unet(x_t, t);
//   fmt::print("{} MiB\n", memory::usage().peak >> 20);
#pragma once

#include <cstddef>

#include "tensor/device.h"

namespace ito::memory {

inline constexpr std::size_t alignment = 64;  ///< bytes; one cache line, one AVX-512 register

struct Usage {
  std::size_t current;  ///< bytes in live tensors; on the device also kernels' scratch memory
  std::size_t peak;     ///< largest `current` since the start or the last reset_peak
  std::size_t cached;   ///< bytes kept for reuse, in no tensor; graphs' memory is among them
};

/// A block of at least `bytes` bytes on `device`. Throws MemoryError with the bytes asked for, in
/// use and cached; DeviceError if the device is not available.
void* allocate(Device device, std::size_t bytes);
/// Gives back a block of `allocate`, with the same `bytes`.
void release(Device device, void* block, std::size_t bytes) noexcept;
/// Copies between any two devices. On return `source` may be changed, and work that is queued later
/// sees the copy. Copies to the host wait for all queued work. Throws DeviceError for these while
/// a graph is recorded (tensor/cuda_graph.h).
void copy(Device to, void* destination, Device from, const void* source, std::size_t bytes);

Usage usage(Device device = Device::cpu());
void reset_peak(Device device = Device::cpu());
/// Returns cached blocks to the system, except those of graphs.
void empty_cache(Device device = Device::cpu());

}  // namespace ito::memory
