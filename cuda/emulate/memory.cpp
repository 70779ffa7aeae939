// Device memory: blocks of cudaMalloc with guards around them, and the pieces that an allocator
// hands out of them.
#include "cuda/emulate/memory.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

#include "cuda/emulate/pieces.h"
#include "cuda/emulate/sanitizer.h"
#include "cuda/emulate/settings.h"
#include "cuda/emulate/stream.h"
#include "tensor/math.h"

namespace ito::emulate {
namespace {

constexpr std::size_t alignment = 256;  // of cudaMalloc
constexpr std::size_t guard = 512;      // 0xff bytes before and behind a block

// ITO_EMULATE_MEMORY, in MiB; 8 GiB unless set.
std::size_t memory_of_environment() {
  const char* value = std::getenv("ITO_EMULATE_MEMORY");
  const std::size_t mib = value && *value ? std::strtoul(value, nullptr, 10) : 8192;
  return mib << 20;
}

struct Block {
  std::size_t bytes = 0;
  bool in_pieces = false;
  std::map<char*, std::size_t> pieces;  // those with an owner
};

struct Memory {
  std::map<char*, Block> blocks;
  std::set<void*> pinned;
  std::size_t used = 0, total = memory_of_environment();
  int open = 0;
};

void report_leaks();

Memory& memory() {
  // Never destroyed: what a program frees at its very end still finds it.
  static Memory& m = *[] {
    if (model().report_leaks) std::atexit(report_leaks);
    return new Memory;
  }();
  return m;
}

void report_leaks() {
  if (const MemoryInUse left = memory_in_use(); left.blocks > 0)
    broken_rule("leak: %zu bytes of device memory in %zu blocks are not freed", left.bytes,
                left.blocks);
}

std::size_t padded(std::size_t bytes) { return round_up(bytes, alignment); }

// The block that p .. p + bytes lies in; null if there is none.
Block* find(const void* p, std::size_t bytes, char** start = nullptr) {
  auto& blocks = memory().blocks;
  char* address = static_cast<char*>(const_cast<void*>(p));
  auto next = blocks.upper_bound(address);
  if (next == blocks.begin()) return nullptr;
  auto& [first, block] = *--next;
  const auto offset = static_cast<std::size_t>(address - first);
  if (offset >= block.bytes || bytes > block.bytes - offset) return nullptr;
  if (start) *start = first;
  return &block;
}

bool is_untouched(const char* from, const char* to) {
  return std::all_of(from, to, [](char c) { return c == '\xff'; });
}

void open_block(char* p, const Block& block) {
  if (!block.in_pieces) return unpoison(p, block.bytes);
  for (const auto& [piece, bytes] : block.pieces) unpoison(piece, bytes);
}

}  // namespace

DeviceMemoryOpen::DeviceMemoryOpen() {
  if (memory().open++ == 0 && address_sanitizer())
    for (const auto& [p, block] : memory().blocks) open_block(p, block);
}

DeviceMemoryOpen::~DeviceMemoryOpen() {
  if (--memory().open == 0 && address_sanitizer())
    for (const auto& [p, block] : memory().blocks) poison(p, padded(block.bytes));
}

void piece_taken(void* p, std::size_t bytes, cudaStream_t stream) {
  submit(stream, [=] {
    Block* block = find(p, bytes);
    if (!block) broken_rule("%zu bytes at %p are handed out, but are not device memory", bytes, p);
    if (!block->in_pieces) poison(p, block->bytes);  // p is the first piece
    block->in_pieces = true;
    // What a graph's work had not freed when it was recorded is taken again by the next run.
    if (const auto left = block->pieces.find(static_cast<char*>(p)); left != block->pieces.end()) {
      std::memset(p, 0xff, left->second);
      poison(p, left->second);
    }
    block->pieces[static_cast<char*>(p)] = bytes;
    unpoison(p, bytes);
  });
}

void piece_freed(void* p, std::size_t bytes, cudaStream_t stream) {
  submit(stream, [=] {
    char* start = nullptr;
    Block* block = find(p, bytes, &start);
    // A graph frees again what was there when it was recorded; another piece may be there by now.
    if (!block) return;
    const auto mine = block->pieces.find(static_cast<char*>(p));
    if (mine == block->pieces.end() || mine->second != bytes) return;
    block->pieces.erase(mine);
    char* const end = static_cast<char*>(p) + bytes;
    char* const limit = std::min(end + guard, start + padded(block->bytes));
    const auto next = block->pieces.lower_bound(end);
    unpoison(p, static_cast<std::size_t>(limit - static_cast<char*>(p)));
    if (!is_untouched(end, next == block->pieces.end() ? limit : std::min(limit, next->first)))
      broken_rule("a kernel wrote behind %zu bytes of device memory", bytes);
    std::memset(p, 0xff, bytes);
    poison(p, static_cast<std::size_t>(limit - static_cast<char*>(p)));
    for (const auto& [piece, size] : block->pieces) unpoison(piece, size);
  });
}

MemoryInUse memory_in_use() { return {memory().blocks.size(), memory().used}; }
void set_memory_size(std::size_t bytes) { memory().total = bytes; }

}  // namespace ito::emulate

using namespace ito::emulate;

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  const ApiLock lock;
  *pointer = nullptr;
  if (const cudaError_t e = not_while_recording()) return e;
  if (bytes == 0) return cudaSuccess;
  ++counters().allocations;
  Memory& m = memory();
  if (allocation_must_fail() || m.used > m.total || bytes > m.total - m.used)
    return remember(cudaErrorMemoryAllocation);
  const std::size_t whole = guard + padded(bytes) + guard;
  auto* raw = static_cast<char*>(std::aligned_alloc(alignment, whole));
  if (!raw) return remember(cudaErrorMemoryAllocation);
  std::memset(raw, 0xff, whole);  // NaN in every floating type
  poison(raw, whole);
  m.blocks[raw + guard].bytes = bytes;
  m.used += bytes;
  *pointer = raw + guard;
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  const ApiLock lock;
  if (!pointer) return cudaSuccess;
  if (const cudaError_t e = not_while_recording()) return e;
  run_all_streams();  // as CUDA does
  Memory& m = memory();
  const auto found = m.blocks.find(static_cast<char*>(pointer));
  if (found == m.blocks.end()) return remember(cudaErrorInvalidValue);
  const auto [p, block] = *found;
  m.used -= block.bytes;
  m.blocks.erase(found);
  unpoison(p - guard, guard + padded(block.bytes) + guard);
  if (!is_untouched(p - guard, p) ||
      !is_untouched(p + block.bytes, p + padded(block.bytes) + guard))
    broken_rule("a kernel wrote outside of %zu bytes of device memory", block.bytes);
  std::free(p - guard);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) {
  const ApiLock lock;
  if (const cudaError_t e = not_while_recording()) return e;
  ++counters().allocations;
  if (posix_memalign(pointer, alignment, bytes) != 0) return remember(cudaErrorMemoryAllocation);
  memory().pinned.insert(*pointer);
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* pointer) {
  const ApiLock lock;
  if (!pointer) return cudaSuccess;
  if (const cudaError_t e = not_while_recording()) return e;
  run_all_streams();
  if (memory().pinned.erase(pointer) == 0) return remember(cudaErrorInvalidValue);
  std::free(pointer);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const ApiLock lock;
  *total = memory().total;
  *free = memory().total - std::min(memory().used, memory().total);
  return cudaSuccess;
}

namespace {

// Whether the pointers are where `kind` says that they are.
bool fits(const void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind == cudaMemcpyDefault) return true;
  return (find(to, bytes) != nullptr) == to_device && (find(from, bytes) != nullptr) == from_device;
}

}  // namespace

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const ApiLock lock;
  if (bytes == 0) return cudaSuccess;
  if (!fits(to, from, bytes, kind)) return remember(cudaErrorInvalidValue);
  return submit(stream, [=] { std::memmove(to, from, bytes); });
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width, std::size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
  const ApiLock lock;
  if (width > to_pitch || width > from_pitch) return remember(cudaErrorInvalidValue);
  if (width == 0 || height == 0) return cudaSuccess;
  if (!fits(to, from, width, kind)) return remember(cudaErrorInvalidValue);
  return submit(stream, [=] {
    for (std::size_t y = 0; y < height; ++y)
      std::memmove(static_cast<char*>(to) + y * to_pitch,
                   static_cast<const char*>(from) + y * from_pitch, width);
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const ApiLock lock;
  if (const cudaError_t e = not_while_recording()) return e;
  if (const cudaError_t e = cudaMemcpyAsync(to, from, bytes, kind, nullptr)) return e;
  return cudaStreamSynchronize(nullptr);
}

cudaError_t cudaMemsetAsync(void* pointer, int value, std::size_t bytes, cudaStream_t stream) {
  const ApiLock lock;
  if (bytes == 0) return cudaSuccess;
  if (!find(pointer, bytes)) return remember(cudaErrorInvalidValue);
  return submit(stream, [=] { std::memset(pointer, value, bytes); });
}

cudaError_t cudaMemset(void* pointer, int value, std::size_t bytes) {
  const ApiLock lock;
  if (const cudaError_t e = not_while_recording()) return e;
  return cudaMemsetAsync(pointer, value, bytes, nullptr);
}
