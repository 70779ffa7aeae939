// Contracts: softmax of the rows of x [rows, n], and its gradient.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"

namespace ito::kernel {

/// y[r, i] = exp(x[r, i] - max_j x[r, j]) / sum_j exp(x[r, j] - max)
struct Softmax {
  static constexpr const char* name = "softmax";
  struct Args {
    const void* x;
    void* y;
    std::int64_t rows, n;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of(2 * a.rows * a.n, a.dtype)}; }
};

/// dx[r, i] = y[r, i] (dy[r, i] - sum_j y[r, j] dy[r, j])
struct SoftmaxGrad {
  static constexpr const char* name = "softmax_grad";
  struct Args {
    const void* y;
    const void* dy;
    void* dx;
    std::int64_t rows, n;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of(3 * a.rows * a.n, a.dtype)}; }
};

}  // namespace ito::kernel
