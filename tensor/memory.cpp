#include "tensor/memory.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "tensor/build.h"
#include "tensor/error.h"
#include "tensor/kernels/device_runtime.h"

namespace ito::memory {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool cache_enabled = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool cache_enabled = false;
#else
constexpr bool cache_enabled = true;
#endif
#else
constexpr bool cache_enabled = true;
#endif

struct Pool {
  std::mutex mutex;
  Usage usage{0, 0, 0};
  std::unordered_map<std::size_t, std::vector<void*>> free_blocks;  // by size class
};

Pool& pool() {
  // Never destroyed: tensors with static lifetime may outlive any order of destruction.
  static auto* one = new Pool;
  return *one;
}

// Size classes: an eighth of a power of two apart, so at most 1/8 of a block is unused.
std::size_t size_class(std::size_t bytes) {
  if (bytes <= 512) return (bytes + alignment - 1) / alignment * alignment;
  const std::size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

// Large blocks ask for huge pages: a first touch then costs one fault in 512, and address
// translation fits its caches.
void* system_allocate(std::size_t bytes) {
#if defined(__linux__)
  constexpr std::size_t huge_page = std::size_t{2} << 20;
  if (bytes >= 2 * huge_page) {
    void* block = std::aligned_alloc(huge_page, (bytes + huge_page - 1) / huge_page * huge_page);
    if (block != nullptr) madvise(block, bytes, MADV_HUGEPAGE);  // a wish: failure changes nothing
    return block;
  }
#endif
  return std::aligned_alloc(alignment, bytes);
}

void free_cached(Pool& p) {
  for (auto& [size, blocks] : p.free_blocks) {
    for (void* block : blocks) std::free(block);
    p.usage.cached -= size * blocks.size();
    blocks.clear();
  }
}

void* cpu_allocate(Pool& p, std::size_t bytes) {
  // Sizes near the end of the address space would wrap around when they are rounded up.
  const bool possible = bytes <= SIZE_MAX / 4;
  const std::size_t size = possible ? size_class(bytes) : bytes;
  if (auto found = p.free_blocks.find(size); found != p.free_blocks.end()) {
    if (auto& blocks = found->second; !blocks.empty()) {
      void* block = blocks.back();
      blocks.pop_back();
      p.usage.cached -= size;
      return block;
    }
  }
  void* block = possible ? system_allocate(size) : nullptr;
  if (block == nullptr && possible && p.usage.cached > 0) {
    free_cached(p);
    block = system_allocate(size);
  }
  if (block == nullptr) {
    fail<MemoryError>(
        "out of memory on cpu: asked for {} bytes, {} in use by tensors; lower the batch size or "
        "the number of channels",
        bytes, p.usage.current);
  }
  return block;
}

}  // namespace

void* allocate(Device device, std::size_t bytes) {
  if (device.is_cuda()) {
    if constexpr (build::cuda) return cuda::allocate(device.index(), bytes);
    throw DeviceError(why_unavailable(device));
  }
  bytes = bytes == 0 ? 1 : bytes;
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  void* block = cpu_allocate(p, bytes);
  p.usage.current += bytes;
  if (p.usage.current > p.usage.peak) p.usage.peak = p.usage.current;
  return block;
}

void release(Device device, void* block, std::size_t bytes) noexcept {
  if (block == nullptr) return;
  if (device.is_cuda()) {
    if constexpr (build::cuda) cuda::release(device.index(), block, bytes);
    return;
  }
  bytes = bytes == 0 ? 1 : bytes;
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  p.usage.current -= bytes;
  if (!cache_enabled) {
    std::free(block);
    return;
  }
  const std::size_t size = size_class(bytes);
  try {
    p.free_blocks[size].push_back(block);
    p.usage.cached += size;
  } catch (...) {  // no memory to remember it: give it back
    std::free(block);
  }
}

void copy(Device to, void* destination, Device from, const void* source, std::size_t bytes) {
  if (bytes == 0) return;
  if (to.is_cpu() && from.is_cpu()) {
    std::memcpy(destination, source, bytes);
  } else if constexpr (build::cuda) {
    if (from.is_cpu()) {
      cuda::copy_to_device(to.index(), destination, source, bytes);
    } else if (to.is_cpu()) {
      cuda::copy_to_host(from.index(), destination, source, bytes);
    } else {
      cuda::copy_on_device(to.index(), destination, source, bytes);
    }
  } else {
    throw DeviceError(why_unavailable(to.is_cuda() ? to : from));
  }
}

Usage usage(Device device) {
  if (device.is_cuda()) {
    if constexpr (build::cuda) {
      const auto [current, peak, cached] = cuda::memory_usage(device.index());
      return {current, peak, cached};
    }
    return {0, 0, 0};
  }
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  return p.usage;
}

void reset_peak(Device device) {
  if (device.is_cuda()) {
    if constexpr (build::cuda) cuda::reset_peak(device.index());
    return;
  }
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  p.usage.peak = p.usage.current;
}

void empty_cache(Device device) {
  if (device.is_cuda()) {
    if constexpr (build::cuda) cuda::empty_cache(device.index());
    return;
  }
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  free_cached(p);
}

}  // namespace ito::memory
