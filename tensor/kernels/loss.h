// Contracts: losses in one pass, and their gradients.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"

namespace ito::kernel {

/// y[0] = mean over i < n of (a[i] - b[i])^2, accumulated in f64 in fixed chunks. n >= 1.
struct Mse {
  static constexpr const char* name = "mse";
  struct Args {
    const void* a;
    const void* b;
    void* y;
    std::int64_t n;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of(2 * a.n, a.dtype)}; }
};

/// da[i] = dy[0] 2 (a[i] - b[i]) / n
struct MseGrad {
  static constexpr const char* name = "mse_grad";
  struct Args {
    const void* a;
    const void* b;
    const void* dy;
    void* da;
    std::int64_t n;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of(3 * a.n, a.dtype)}; }
};

}  // namespace ito::kernel
