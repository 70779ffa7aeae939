// Contracts: rows by index. Indices are i64 and have been checked to be in range, except while a
// graph is recorded, when nobody can look at them: on the device an index out of range then gives a
// row of NaN (zeros in an integer dtype) in Gather and OneHot and is left out in ScatterAdd.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"

namespace ito::kernel {

/// y[i, :] = table[ids[i], :] for i < n, rows of `width` elements.
struct Gather {
  static constexpr const char* name = "gather";
  struct Args {
    const void* table;
    const void* ids;
    void* y;
    std::int64_t n, width, rows;  ///< rows of the table
    DType dtype;                  ///< any
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of(2 * a.n * a.width, a.dtype)}; }
};

/// y [rows, width] = 0, then y[ids[i], :] += x[i, :] in the order of i: the transpose of Gather.
struct ScatterAdd {
  static constexpr const char* name = "scatter_add";
  struct Args {
    const void* x;
    const void* ids;
    void* y;
    std::int64_t n, width, rows;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = bytes_of((a.n + a.rows) * a.width, a.dtype)}; }
};

/// y[i, c] = (ids[i] == c) for i < n, c < classes.
struct OneHot {
  static constexpr const char* name = "one_hot";
  struct Args {
    const void* ids;
    void* y;
    std::int64_t n, classes;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) {
    return {.bytes = bytes_of(a.n, DType::i64) + bytes_of(a.n * a.classes, a.dtype)};
  }
};

}  // namespace ito::kernel
