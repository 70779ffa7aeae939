// Contract: neighbouring order statistics of the rows of x [rows, n].
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"

namespace ito::kernel {

/// lower[r] is the element number k of row r in rising order, counted from 0, and upper[r] number
/// min(k + 1, n - 1); NaN both if any element of the row is NaN. 0 <= k < n.
struct OrderStatistics {
  static constexpr const char* name = "order_statistics";
  struct Args {
    const void* x;
    void* lower;
    void* upper;
    std::int64_t rows, n, k;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of(a.rows * (a.n + 2), a.dtype)}; }
};

}  // namespace ito::kernel
