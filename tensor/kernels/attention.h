// Contracts: scaled dot-product attention of q [n, l, heads d], k and v [n, s, heads d].
//
// Per sample and head: S = scale q k^T + mask, P = softmax(S) over keys, y = P v. A row whose
// scores are all -inf has P = 0. No array of size l x s is kept: the gradient computes P again from
// the row's log-sum-exp.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"

namespace ito::kernel {

struct AttentionShape {
  std::int64_t n, l, s, heads, d;
  double scale;          ///< 1 / sqrt(d)
  bool mask_per_sample;  ///< mask [n, l, s] instead of [l, s]
};

/// `products` of l x s x d for each sample and head, and arrays of l and of s rows.
inline Cost cost_of(const AttentionShape& a, double products, std::int64_t l_arrays,
                    std::int64_t s_arrays, DType dtype) {
  return {.flops = products * product_flops(a.n, a.heads, a.l, a.s, a.d),
          .bytes = bytes_of(a.n * a.heads * a.d * (l_arrays * a.l + s_arrays * a.s), dtype)};
}

struct Attention {
  static constexpr const char* name = "attention";
  struct Args {
    const void* q;
    const void* k;
    const void* v;
    const void* mask;  ///< or null
    void* y;           ///< [n, l, heads d]
    void* lse;         ///< out: log of the sum of exp of each row of S, [n, heads, l]; f32 for bf16
    AttentionShape shape;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  /// S and P v; q, y, and k, v.
  static Cost cost(const Args& a) { return cost_of(a.shape, 2, 2, 2, a.dtype); }
};

/// dv = P^T dy;  dS = P (dy v^T - rowsum(dy y));  dq = scale dS k;  dk = scale dS^T q
struct AttentionGrad {
  static constexpr const char* name = "attention_grad";
  struct Args {
    const void* q;
    const void* k;
    const void* v;
    const void* mask;
    const void* y;
    const void* lse;
    const void* dy;
    void* dq;
    void* dk;
    void* dv;
    AttentionShape shape;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  /// S again, dy v^T, dv, dq and dk; q, y, dy, dq, and k, v, dk, dv.
  static Cost cost(const Args& a) { return cost_of(a.shape, 5, 4, 4, a.dtype); }
};

}  // namespace ito::kernel
