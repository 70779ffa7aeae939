// Working memory of a CPU kernel: uninitialised, aligned, from the tensors' allocator, so that it
// is counted and comes back without page faults.
#pragma once

#include <cstdint>

#include "tensor/memory.h"

namespace ito {

template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t count)
      : bytes_(static_cast<std::size_t>(count) * sizeof(T)),
        data_(static_cast<T*>(memory::allocate(Device::cpu(), bytes_))) {}
  ~Scratch() { memory::release(Device::cpu(), data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() { return data_; }

 private:
  std::size_t bytes_;
  T* data_;
};

}  // namespace ito
