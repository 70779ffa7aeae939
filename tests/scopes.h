// Settings of the whole program, changed for as long as one of these lives.
#pragma once

#include "tensor/kernels/conv_plan.h"
#include "tensor/parallel.h"

namespace ito::test {

/// Puts the number of threads back when it goes.
struct ThreadScope {
  int before = num_threads();
  ThreadScope() = default;
  ~ThreadScope() { set_num_threads(before); }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;
};

/// Every convolution by this algorithm, where it can.
struct Forced {
  explicit Forced(kernel::ConvAlgorithm algorithm) { kernel::set_conv_algorithm(algorithm); }
  ~Forced() { kernel::set_conv_algorithm(kernel::ConvAlgorithm::automatic); }
  Forced(const Forced&) = delete;
  Forced& operator=(const Forced&) = delete;
};

}  // namespace ito::test
