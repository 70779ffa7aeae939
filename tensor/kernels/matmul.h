// Contract: matrix products in batches.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"

namespace ito::kernel {

class PackedWeights;  // packed_weights.h

/// y[b] = op(a[b]) op(b[b]) + bias for b < batch; op transposes when its flag is set.
///   a [m, k] (or [k, m]), b [k, n] (or [n, k]), bias [n] or null, y [m, n], all dense.
///   a_step, b_step: elements from one batch to the next; 0 uses one matrix for all.
struct Matmul {
  static constexpr const char* name = "matmul";
  struct Args {
    const void* a;
    const void* b;
    const void* bias;
    void* y;
    std::int64_t batch, m, n, k;
    std::int64_t a_step, b_step;
    bool transpose_a, transpose_b;
    DType dtype;
    PackedWeights* packed = nullptr;  ///< where the CPU keeps what it makes of b, or null
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) {
    const std::int64_t batch_a = a.a_step == 0 ? 1 : a.batch, batch_b = a.b_step == 0 ? 1 : a.batch;
    return {.flops = product_flops(a.batch, a.m, a.n, a.k),
            .bytes =
                bytes_of(batch_a * a.m * a.k + batch_b * a.k * a.n + a.batch * a.m * a.n, a.dtype)};
  }
};

}  // namespace ito::kernel
