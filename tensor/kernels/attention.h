// Contracts: scaled dot-product attention of q [n, l, heads d], k and v [n, s, heads d].
//
// Per sample and head: S = scale q k^T + mask, P = softmax(S) over keys, y = P v. A row whose
// scores are all -inf has P = 0. No array of size l x s is kept: the gradient computes P again from
// the row's log-sum-exp.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace ito::kernel {

struct AttentionShape {
  std::int64_t n, l, s, heads, d;
  double scale;          ///< 1 / sqrt(d)
  bool mask_per_sample;  ///< mask [n, l, s] instead of [l, s]
};

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
};

}  // namespace ito::kernel
