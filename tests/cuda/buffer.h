// Arrays on the device for tests of kernels.
#pragma once

#include <vector>

#include "cuda/runtime.h"

namespace ito::testing {

/// n elements of T in device memory of its own.
template <class T>
class Buffer {
 public:
  explicit Buffer(std::size_t n) : n_(n) {
    cuda::check(cudaMalloc(&data_, n * sizeof(T)), "cudaMalloc");
  }
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
    copy(data_, values.data(), cudaMemcpyHostToDevice);
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(n_);
    copy(values.data(), data_, cudaMemcpyDeviceToHost);
    return values;
  }

 private:
  void copy(void* to, const void* from, cudaMemcpyKind kind) const {
    cuda::check(cudaMemcpyAsync(to, from, n_ * sizeof(T), kind, cuda::stream()), "cudaMemcpyAsync");
    cuda::synchronize();
  }
  std::size_t n_;
  T* data_ = nullptr;
};

}  // namespace ito::testing
