// Copies between host and device, and the pinned memory they pass through: a copy from ordinary
// host memory would wait for everything that is queued.
#include <algorithm>
#include <cstring>

#include "cuda/runtime.h"
#include "cuda/staging.h"
#include "tensor/error.h"
#include "tensor/kernels/device_runtime.h"

namespace ito::cuda {

Staging::Staging(std::size_t bytes) : size_(bytes) {
  check(cudaMallocHost(&memory_, bytes), "cudaMallocHost of the staging memory");
}

Staging::~Staging() {
  for (const Part& part : parts_) {
    cudaEventSynchronize(part.done);
    cudaEventDestroy(part.done);
  }
  for (cudaEvent_t event : spare_) cudaEventDestroy(event);
  cudaFreeHost(memory_);
}

// Waits for the oldest copy.
void Staging::retire() {
  const Part oldest = parts_.front();
  check(cudaEventSynchronize(oldest.done), "cudaEventSynchronize of a copy to the device");
  parts_.pop_front();
  spare_.push_back(oldest.done);
}

// The start of `bytes` free bytes. Copies in flight lie between the oldest's begin and head_,
// around the end of the memory.
std::size_t Staging::reserve(std::size_t bytes) {
  if (head_ + bytes > size_) {
    // What is left at the end is too small. Copies there are older than all at the start.
    while (!parts_.empty() && parts_.front().begin >= head_) retire();
    head_ = 0;
  }
  while (!parts_.empty() && parts_.front().begin >= head_ && parts_.front().begin < head_ + bytes) {
    retire();
  }
  return head_;
}

void Staging::copy(void* destination, const void* source, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  // Halves of the memory: one is filled while the other is on its way.
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t part = std::min(bytes - done, size_ / 2);
    const std::size_t begin = reserve(part);
    char* stage = static_cast<char*>(memory_) + begin;
    std::memcpy(stage, static_cast<const char*>(source) + done, part);
    check(cudaMemcpyAsync(static_cast<char*>(destination) + done, stage, part,
                          cudaMemcpyHostToDevice, stream()),
          "cudaMemcpyAsync to the device");
    cudaEvent_t event = nullptr;
    if (spare_.empty()) {
      check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    } else {
      event = spare_.back();
      spare_.pop_back();
    }
    check(cudaEventRecord(event, stream()), "cudaEventRecord");
    parts_.push_back({begin, event});
    head_ = begin + (part + 63) / 64 * 64;
    done += part;
  }
}

Staging& staging() {
  // Never destroyed, as the stream.
  static Staging* one = new Staging(std::size_t{32} << 20);
  return *one;
}

void copy_to_device(int index, void* destination, const void* source, std::size_t bytes) {
  require_device(index);
  if (capturing()) return record_copy(destination, source, bytes);
  staging().copy(destination, source, bytes);
}

void copy_to_host(int index, void* destination, const void* source, std::size_t bytes) {
  require_device(index);
  if (capturing()) {
    throw DeviceError(
        "cuda: a result cannot be read back while a graph is recorded: nothing has run yet; read "
        "it after run()");
  }
  check(cudaMemcpyAsync(destination, source, bytes, cudaMemcpyDeviceToHost, stream()),
        "cudaMemcpyAsync to the host");
  synchronize();
}

void copy_on_device(int index, void* destination, const void* source, std::size_t bytes) {
  require_device(index);
  check(cudaMemcpyAsync(destination, source, bytes, cudaMemcpyDeviceToDevice, stream()),
        "cudaMemcpyAsync on the device");
}

}  // namespace ito::cuda
