#include "cuda/emulate/memory.h"

#include <cuda_runtime.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "cuda/emulate/emulate.h"
#include "cuda/emulate/sanitizer.h"
#include "cuda/emulate/stream.h"

namespace ito::emulate {
namespace {

struct Memory {
  std::map<char*, std::size_t> blocks;  // of cudaMalloc
  std::size_t used = 0;
  std::size_t total = std::size_t{8} << 30;
  int open = 0;
};
Memory& memory() {
  static auto& m = *new Memory;
  return m;
}

}  // namespace

DeviceMemoryOpen::DeviceMemoryOpen() {
  if (memory().open++ == 0 && address_sanitizer())
    for (const auto& [p, bytes] : memory().blocks) unpoison(p, bytes);
}

DeviceMemoryOpen::~DeviceMemoryOpen() {
  if (--memory().open == 0 && address_sanitizer())
    for (const auto& [p, bytes] : memory().blocks) poison(p, bytes);
}

}  // namespace ito::emulate

using namespace ito::emulate;

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  *pointer = nullptr;
  if (const cudaError_t e = not_while_recording()) return e;
  if (bytes == 0) return cudaSuccess;
  Memory& m = memory();
  if (bytes > m.total - m.used) return remember(cudaErrorMemoryAllocation);
  constexpr std::size_t alignment = 256;
  void* p = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (!p) return remember(cudaErrorMemoryAllocation);
  std::memset(p, 0xff, bytes);  // NaN in every floating type
  m.blocks.emplace(static_cast<char*>(p), bytes);
  m.used += bytes;
  poison(p, (bytes + alignment - 1) / alignment * alignment);
  *pointer = p;
  return cudaSuccess;
}
cudaError_t cudaFree(void* pointer) {
  if (!pointer) return cudaSuccess;
  if (const cudaError_t e = not_while_recording()) return e;
  run_all_streams();  // as CUDA does
  Memory& m = memory();
  const auto block = m.blocks.find(static_cast<char*>(pointer));
  if (block == m.blocks.end()) return remember(cudaErrorInvalidValue);
  m.used -= block->second;
  m.blocks.erase(block);
  std::free(pointer);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) {
  if (const cudaError_t e = not_while_recording()) return e;
  *pointer = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  if (const cudaError_t e = not_while_recording()) return e;
  run_all_streams();
  std::free(pointer);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = memory().total;
  *free = memory().total - memory().used;
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  return submit(stream, [=] { std::memmove(to, from, bytes); });
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width, std::size_t height,
                              cudaMemcpyKind, cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) return remember(cudaErrorInvalidValue);
  return submit(stream, [=] {
    for (std::size_t y = 0; y < height; ++y)
      std::memmove(static_cast<char*>(to) + y * to_pitch,
                   static_cast<const char*>(from) + y * from_pitch, width);
  });
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (const cudaError_t e = not_while_recording()) return e;
  if (const cudaError_t e = cudaMemcpyAsync(to, from, bytes, kind, nullptr)) return e;
  return cudaStreamSynchronize(nullptr);
}
cudaError_t cudaMemsetAsync(void* pointer, int value, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  return submit(stream, [=] { std::memset(pointer, value, bytes); });
}
cudaError_t cudaMemset(void* pointer, int value, std::size_t bytes) {
  if (const cudaError_t e = not_while_recording()) return e;
  return cudaMemsetAsync(pointer, value, bytes, nullptr);
}
