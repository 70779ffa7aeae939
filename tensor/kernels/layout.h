// Contract: moving elements between two strided views. Serves permute, expand, slice, pad and
// concat.
#pragma once

#include <cstdint>

#include "tensor/kernels/cost.h"

namespace ito::kernel {

/// The index space of a copy: `rank` axes of `size`, and the step in elements that the source and
/// the destination take along each. A source step of 0 repeats. Axes of size 1 are dropped and
/// neighbours that step as one are merged before the call, so most copies have rank 1 to 3.
struct CopyIndex {
  static constexpr int max_rank = 8;
  int rank = 0;
  std::int64_t size[max_rank] = {};
  std::int64_t x_step[max_rank] = {};
  std::int64_t y_step[max_rank] = {};
};

/// y[sum of i_d y_step_d] = x[sum of i_d x_step_d] for every index i. Elements are moved as bits:
/// `element` is their size in bytes, 1, 2, 4 or 8.
struct Copy {
  static constexpr const char* name = "copy";
  struct Args {
    const void* x;
    void* y;
    CopyIndex index;
    std::int64_t n;  // number of elements moved
    std::int64_t element;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return {.bytes = 2.0 * static_cast<double>(a.n * a.element)}; }
};

}  // namespace ito::kernel
