#include <cstdio>
#include <map>
#include <string>

#include "cuda/allocator.h"
#include "cuda/emulate/pieces.h"
#include "cuda/runtime.h"
#include "tensor/error.h"
#include "tensor/math.h"

namespace ito::cuda {
namespace {

// Size classes: an eighth of a power of two apart, so at most 1/8 of a block is unused; at least
// 512 bytes, what cudaMalloc rounds to.
std::size_t size_class(std::size_t bytes) {
  if (bytes <= 4096) return round_up(bytes, 512);
  std::size_t step = 512;
  while (step * 16 <= bytes) step *= 2;
  return round_up(bytes, step);
}

// The number of a size class, below 416 for every size that fits an address.
std::size_t class_index(std::size_t size) {
  std::size_t octave = 0, steps = size / 512;
  for (; steps > 16; steps /= 2) ++octave;
  return 8 * octave + steps;
}

std::string mebibytes(std::size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

}  // namespace

Allocator::~Allocator() {
  for (auto& [address, block] : blocks_) cudaFree(address);
}

// A free block of the pool, marked as used; null when there is none.
Allocator::Block* Allocator::take(Pool& pool, std::size_t size) {
  Block*& list = pool.free_[class_index(size)];
  if (list == nullptr) return nullptr;
  Block* block = list;
  list = block->next;
  block->in_use = true;
  usage_.cached -= size;
  return block;
}

void Allocator::put(Block* block) noexcept {
  Block*& list = block->owner->free_[class_index(block->size)];
  block->next = list;
  block->in_use = false;
  list = block;
  usage_.cached += block->size;
}

// Where a block goes that nobody uses any more. What a graph's work frees while it is recorded, the
// recording may use: it is the graph's from now on (and cudaFree would spoil the recording).
void Allocator::recycle(Block* block) noexcept {
  const bool common = block->owner == &cache_;
  if (active_ != nullptr && capturing() && (common || block->owner == active_)) {
    block->owner = active_;
    block->recorded = true;
  }
  if (keep_ || block->owner != &cache_) {
    put(block);
  } else {
    free_block(block);
  }
}

// Of a block in no list.
void Allocator::free_block(Block* block) noexcept {
  void* address = block->address;
  cudaFree(address);  // waits for the device: kernels that use the block are done
  blocks_.erase(address);
}

void Allocator::free_cache() noexcept {
  for (Block*& list : cache_.free_) {
    while (list != nullptr) {
      Block* block = list;
      list = block->next;
      usage_.cached -= block->size;
      free_block(block);
    }
  }
}

Allocator::Block* Allocator::from_system(std::size_t size, std::size_t asked) {
  if (capturing()) {
    throw DeviceError(
        "cuda: a graph that is being recorded cannot get new memory: it asked for " +
        std::to_string(asked) +
        " bytes that its first run had no need of; the work must ask for the same sizes every "
        "time");
  }
  void* address = nullptr;
  cudaError_t status = cudaMalloc(&address, size);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    free_cache();
    status = cudaMalloc(&address, size);
  }
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    out_of_memory(asked);
  }
  check(status, "cudaMalloc");
  try {
    return &(blocks_[address] = {address, size, nullptr, nullptr, true, false});
  } catch (...) {
    cudaFree(address);
    throw;
  }
}

void Allocator::out_of_memory(std::size_t asked) const {
  std::size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  throw MemoryError("out of memory on cuda:0: asked for " + std::to_string(asked) + " bytes (" +
                    mebibytes(asked) + "), " + std::to_string(usage_.current) + " (" +
                    mebibytes(usage_.current) + ") in use by tensors, " + mebibytes(usage_.cached) +
                    " kept by graphs; the GPU has " + mebibytes(free) + " free of " +
                    mebibytes(total) +
                    "; lower the batch size or the number of channels, use bf16, or end other "
                    "programs on this GPU");
}

void* Allocator::allocate(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  // Sizes near the end of the address space would wrap around when they are rounded up.
  if (bytes > SIZE_MAX / 4) out_of_memory(bytes);
  const std::size_t size = size_class(bytes == 0 ? 1 : bytes);
  Pool* owner = active_ != nullptr ? active_ : &cache_;
  Block* block = take(*owner, size);
  if (block == nullptr && owner != &cache_) block = take(cache_, size);
  if (block == nullptr) block = from_system(size, bytes);
  block->owner = owner;
  block->recorded = capturing();
  emulate::piece_taken(block->address, bytes, stream());
  usage_.current += bytes;
  if (usage_.current > usage_.peak) usage_.peak = usage_.current;
  return block->address;
}

void Allocator::release(void* address, std::size_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = blocks_.find(address);
  if (found == blocks_.end()) return;
  usage_.current -= bytes;
  emulate::piece_freed(address, bytes, stream());
  recycle(&found->second);
}

MemoryUsage Allocator::usage() const {
  const std::lock_guard lock(mutex_);
  return usage_;
}

void Allocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  usage_.peak = usage_.current;
}

void Allocator::empty_cache() {
  const std::lock_guard lock(mutex_);
  if (capturing()) throw DeviceError("cuda: memory cannot be given back while a graph is recorded");
  free_cache();
}

Allocator::Pool* Allocator::open() { return new Pool; }

void Allocator::enter(Pool* pool) {
  const std::lock_guard lock(mutex_);
  active_ = pool;
}

void Allocator::leave() { enter(nullptr); }

void Allocator::reserve_second_run(Pool* pool) {
  const std::lock_guard lock(mutex_);
  std::map<std::size_t, int> wanted;
  for (const auto& [address, block] : blocks_) {
    if (block.owner == pool && block.in_use) ++wanted[block.size];
  }
  for (const auto& [size, count] : wanted) {
    for (int i = 0; i < count; ++i) {
      Block* block = take(cache_, size);
      if (block == nullptr) block = from_system(size, size);
      block->owner = pool;
      put(block);
    }
  }
}

// Moves the pool's free blocks to the cache: all, or those that no recording touched.
void Allocator::hand_over(Pool* pool, bool everything) noexcept {
  for (Block*& list : pool->free_) {
    Block** link = &list;
    while (*link != nullptr) {
      Block* block = *link;
      if (!everything && block->recorded) {
        link = &block->next;
        continue;
      }
      *link = block->next;
      usage_.cached -= block->size;
      block->owner = &cache_;
      recycle(block);
    }
  }
}

void Allocator::trim(Pool* pool) noexcept {
  const std::lock_guard lock(mutex_);
  hand_over(pool, false);
}

void Allocator::close(Pool* pool) noexcept {
  const std::lock_guard lock(mutex_);
  hand_over(pool, true);
  for (auto& [address, block] : blocks_) {
    if (block.owner == pool) block.owner = &cache_;
  }
  delete pool;
}

Allocator& allocator() {
  // Never destroyed: tensors with static lifetime may outlive any order of destruction.
  static Allocator* one = [] {
    require_device(0);
    return new Allocator;
  }();
  return *one;
}

void* allocate(int index, std::size_t bytes) {
  require_device(index);
  return allocator().allocate(bytes);
}
void release(int, void* block, std::size_t bytes) noexcept { allocator().release(block, bytes); }
MemoryUsage memory_usage(int index) {
  return why_unavailable(index).empty() ? allocator().usage() : MemoryUsage{0, 0, 0};
}
void reset_peak(int index) {
  if (why_unavailable(index).empty()) allocator().reset_peak();
}
void empty_cache(int index) {
  if (why_unavailable(index).empty()) allocator().empty_cache();
}

void* allocate_scratch(std::size_t bytes) { return allocator().allocate(bytes); }
void release_scratch(void* block, std::size_t bytes) noexcept { allocator().release(block, bytes); }

}  // namespace ito::cuda
