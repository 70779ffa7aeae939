// Pinned memory that copies to the device pass through, so that the caller need not wait for them.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <deque>
#include <mutex>
#include <vector>

namespace ito::cuda {

/// A ring of pinned memory. A copy waits only when the ring is full of copies still under way.
class Staging {
 public:
  explicit Staging(std::size_t bytes);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// Queues a copy to the device. `source` may be changed when this returns.
  void copy(void* destination, const void* source, std::size_t bytes);

 private:
  struct Part {  // a copy under way
    std::size_t begin;
    cudaEvent_t done;
  };
  std::size_t reserve(std::size_t bytes);
  void retire();

  std::mutex mutex_;
  void* memory_ = nullptr;
  std::size_t size_, head_ = 0;
  std::deque<Part> parts_;  // oldest first
  std::vector<cudaEvent_t> spare_;
};

/// The ring of the process.
Staging& staging();

/// Makes a copy from the host part of the graph that is being recorded (cuda/graph.cu).
void record_copy(void* destination, const void* source, std::size_t bytes);

}  // namespace ito::cuda
