#include "tensor/memory.h"

#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "tensor/arena.h"
#include "tensor/build.h"
#include "tensor/error.h"
#include "tensor/kernels/device_runtime.h"
#include "tensor/math.h"

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

// From here on blocks come from the arena; below, a cache of exact size classes wastes less.
constexpr std::size_t large = std::size_t{64} << 10;

struct Pool {
  std::mutex mutex;
  Usage usage{0, 0, 0};                                             // `cached`: of the small blocks
  std::unordered_map<std::size_t, std::vector<void*>> free_blocks;  // small ones, by size class
  Arena arena;
};

Pool& pool() {
  // Never destroyed: tensors with static lifetime may outlive any order of destruction.
  static auto* one = new Pool;
  return *one;
}

bool in_arena(std::size_t bytes) { return cache_enabled && bytes >= large; }

// Size classes: an eighth of a power of two apart, so at most 1/8 of a block is unused.
std::size_t size_class(std::size_t bytes) {
  if (bytes <= 512) return round_up(bytes, alignment);
  const std::size_t step = std::bit_floor(bytes) / 8;
  return round_up(bytes, step);
}

void free_cached(Pool& p) {
  for (auto& [size, blocks] : p.free_blocks) {
    for (void* block : blocks) std::free(block);
    p.usage.cached -= size * blocks.size();
    blocks.clear();
  }
  p.arena.trim();
}

void* allocate_small(Pool& p, std::size_t bytes) {
  const std::size_t size = size_class(bytes);
  if (auto found = p.free_blocks.find(size); found != p.free_blocks.end()) {
    if (auto& blocks = found->second; !blocks.empty()) {
      void* block = blocks.back();
      blocks.pop_back();
      p.usage.cached -= size;
      return block;
    }
  }
  return std::aligned_alloc(alignment, size);
}

void* cpu_allocate(Pool& p, std::size_t bytes) {
  // Sizes near the end of the address space would wrap around when they are rounded up.
  const auto attempt = [&]() -> void* {
    if (bytes > SIZE_MAX / 4) return nullptr;
    return in_arena(bytes) ? p.arena.allocate(bytes) : allocate_small(p, bytes);
  };
  void* block = attempt();
  if (block == nullptr && p.usage.cached + p.arena.free_bytes() > 0) {
    free_cached(p);
    block = attempt();
  }
  if (block == nullptr) {
    fail<MemoryError>(
        "out of memory on cpu: asked for {} bytes, {} in use by tensors; lower the batch size or "
        "the number of channels",
        bytes, p.usage.current);
  }
  return block;
}

void release_small(Pool& p, void* block, std::size_t bytes) noexcept {
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
  if (in_arena(bytes)) {
    p.arena.release(block, bytes);
  } else {
    release_small(p, block, bytes);
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
  return {p.usage.current, p.usage.peak, p.usage.cached + p.arena.free_bytes()};
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
