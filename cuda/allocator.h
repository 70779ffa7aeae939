// The caching allocator of device memory. cudaMalloc and cudaFree wait for the device and cost more
// than most kernels, and a training step asks for the same sizes again and again: freed blocks are
// kept by size and handed out again at once, although kernels that use them may still be queued.
// That is safe because all work is queued on one stream: what the next owner queues runs later.
//
// Blocks are neither split nor joined, so that a graph's recording finds what its first run found
// whatever lay free in between. The price is memory that waits in the wrong size: over a training
// step of the U-Nets the allocator holds 1.2 (cifar10) to 1.5 (mnist) times the peak of `current`.
//
// A graph's kernels are replayed with the addresses they were recorded with, so what a graph
// allocates while it runs first or is recorded comes from a pool of its own, which nobody else is
// given as long as the graph lives. Its free blocks are cached bytes to the rest of the world.
#pragma once

#include <array>
#include <cstddef>
#include <mutex>
#include <unordered_map>

#include "tensor/kernels/device_runtime.h"

namespace ito::cuda {

class Allocator {
 public:
  /// Whether freed blocks are kept. Not under sanitizers: there each tensor is an allocation of its
  /// own, so that a use after free is found. Graphs always keep theirs.
  static constexpr bool keeps_by_default =
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
      false;
#else
      true;
#endif
  explicit Allocator(bool keep = keeps_by_default) : keep_(keep) {}
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  /// As cuda::allocate, cuda::release (tensor/kernels/device_runtime.h).
  void* allocate(std::size_t bytes);
  void release(void* block, std::size_t bytes) noexcept;
  MemoryUsage usage() const;
  void reset_peak();
  void empty_cache();

  class Pool;
  /// A pool for a graph. Until leave() all allocations come from it: from its free blocks, else
  /// from the cache, else, unless a graph is being recorded, from the system.
  Pool* open();
  void enter(Pool* pool);
  void leave();
  /// Between the first run and the recording: room for what the first run left in use, because the
  /// recording makes such tensors anew before the old ones are freed.
  void reserve_second_run(Pool* pool);
  /// After the recording: blocks that it did not touch go to the cache.
  void trim(Pool* pool) noexcept;
  /// The graph is gone: its free blocks go to the cache, blocks in use stay valid.
  void close(Pool* pool) noexcept;

 private:
  struct Block {
    void* address;
    std::size_t size;
    Pool* owner;
    Block* next;  // in the owner's list of free blocks of this size
    bool in_use;
    bool recorded;  // handed out or freed while a graph was recorded
  };
  Block* take(Pool& pool, std::size_t size);
  void put(Block* block) noexcept;
  void recycle(Block* block) noexcept;
  Block* from_system(std::size_t size, std::size_t asked);
  void free_cache() noexcept;
  void free_block(Block* block) noexcept;
  void hand_over(Pool* pool, bool everything) noexcept;
  [[noreturn]] void out_of_memory(std::size_t asked) const;

 public:
  class Pool {
    friend class Allocator;
    std::array<Block*, 416> free_{};  // lists, by size class
  };

 private:
  const bool keep_;
  mutable std::mutex mutex_;
  std::unordered_map<void*, Block> blocks_;  // all of them, in use or free
  Pool cache_;
  Pool* active_ = nullptr;  // the graph that allocates now
  MemoryUsage usage_{0, 0, 0};
};

/// The one allocator of the device.
Allocator& allocator();

}  // namespace ito::cuda
