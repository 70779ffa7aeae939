// Contracts: changes of resolution of NHWC images by a whole factor. Each is the other's gradient.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"

namespace ito::kernel {

/// y[n, h, w, c] = scale x[n, h / factor, w / factor, c]; x [n, h, w, c], y [n, h factor, w factor,
/// c]
struct Upsample {
  static constexpr const char* name = "upsample_nearest";
  struct Args {
    const void* x;
    void* y;
    std::int64_t n, h, w, c;  ///< of x
    std::int64_t factor;
    double scale;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) {
    return {.bytes = bytes_of(a.n * a.h * a.w * a.c * (1 + a.factor * a.factor), a.dtype)};
  }
};

/// y[n, h, w, c] = scale * sum over r, s < factor of x[n, h factor + r, w factor + s, c]
struct SumPool {
  static constexpr const char* name = "sum_pool";
  struct Args {
    const void* x;
    void* y;
    std::int64_t n, h, w, c;  ///< of y
    std::int64_t factor;
    double scale;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) {
    return {.bytes = bytes_of(a.n * a.h * a.w * a.c * (1 + a.factor * a.factor), a.dtype)};
  }
};

}  // namespace ito::kernel
