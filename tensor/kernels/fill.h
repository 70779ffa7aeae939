// Contract: set every element to one value.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"

namespace ito::kernel {

/// y[i] = value, converted to the dtype.
struct Fill {
  static constexpr const char* name = "fill";
  struct Args {
    void* y;
    std::int64_t n;
    double value;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of(a.n, a.dtype)}; }
};

/// y[i] = x[i], converted between dtypes; f32 to bf16 rounds to nearest even, floating to integer
/// truncates towards zero.
struct Cast {
  static constexpr const char* name = "cast";
  struct Args {
    const void* x;
    void* y;
    std::int64_t n;
    DType from, to;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of(a.n, a.from) + bytes_of(a.n, a.to)}; }
};

}  // namespace ito::kernel
