// Contracts: reductions of the middle of x [outer, reduced, inner] to y [outer, inner].
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"

namespace ito::kernel {

struct ReduceArgs {
  const void* x;
  void* y;
  std::int64_t outer, reduced, inner;
  DType dtype;
};
inline Cost cost_of(const ReduceArgs& a) {
  return {.bytes = bytes_of(a.outer * (a.reduced + 1) * a.inner, a.dtype)};
}

/// y[o, i] = sum over r of x[o, r, i]; accumulated in f64. The order of additions depends on the
/// sizes only. Nothing to add gives 0.
struct Sum {
  static constexpr const char* name = "sum";
  using Args = ReduceArgs;
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return cost_of(a); }
};

/// y[o, i] = max over r of x[o, r, i]; NaN if any is NaN. `reduced` is at least 1.
struct Max {
  static constexpr const char* name = "max";
  using Args = ReduceArgs;
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return cost_of(a); }
};

}  // namespace ito::kernel
