// Contracts: one pass each over the flat buffers of a model (nn/flat.h).
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace ito::kernel {

/// Numbers that change from step to step.
struct AdamScalars {
  double step_size;    ///< lr / (1 - beta1^t)
  double decay;        ///< 1 - lr weight_decay
  double bias2_rsqrt;  ///< 1 / sqrt(1 - beta2^t)
  double grad_scale;   ///< of the gradient before use: the clipping factor, 1 for none
};

/// For every element, with g = grad_scale * grad[i]:
///   m = beta1 m + (1 - beta1) g
///   v = beta2 v + (1 - beta2) g^2
///   p = decay p - step_size m / (sqrt(v) bias2_rsqrt + eps)
struct AdamStep {
  static constexpr const char* name = "adam_step";
  struct Args {
    void* p;
    const void* grad;
    void* m;
    void* v;
    std::int64_t n;
    double beta1, beta2, eps;
    AdamScalars scalars;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
};

/// average[i] += (1 - decay) (x[i] - average[i]); equal values stay exactly equal.
struct EmaStep {
  static constexpr const char* name = "ema_step";
  struct Args {
    void* average;
    const void* x;
    std::int64_t n;
    double decay;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
};

/// *y = sum of x[i]^2, in f64; the order of additions depends on n only.
struct SquaredNorm {
  static constexpr const char* name = "squared_norm";
  struct Args {
    const void* x;
    double* y;
    std::int64_t n;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
};

/// x[i] *= factor.
struct Scale {
  static constexpr const char* name = "scale";
  struct Args {
    void* x;
    std::int64_t n;
    double factor;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
};

/// *index = the smallest i for which x[i] is infinite or NaN, or -1.
struct FirstNonFinite {
  static constexpr const char* name = "first_non_finite";
  struct Args {
    const void* x;
    std::int64_t* index;
    std::int64_t n;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
};

}  // namespace ito::kernel
