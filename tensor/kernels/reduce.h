// Contracts: reductions of the middle of x [outer, reduced, inner].
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace ito::kernel {

/// y[o, i] = sum over r of x[o, r, i]; accumulated in f64, in the order of r within fixed chunks.
struct Sum {
  static constexpr const char* name = "sum";
  struct Args {
    const void* x;
    void* y;
    std::int64_t outer, reduced, inner;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
};

}  // namespace ito::kernel
