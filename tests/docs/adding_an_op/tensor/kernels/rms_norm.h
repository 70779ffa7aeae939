// Contracts: root-mean-square normalisation of the rows of x [rows, n], and its gradient.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace ito::kernel {

/// scale[r] = 1 / sqrt(mean over i of x[r, i]^2 + eps);  y[r, i] = x[r, i] scale[r] weight[i].
struct RmsNorm {
  static constexpr const char* name = "rms_norm";
  struct Args {
    const void* x;
    const void* weight;
    void* scale;  // kept for the gradient
    void* y;
    std::int64_t rows, n;
    double eps;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
};

/// With g = weight dy:  dx[r, i] = scale[r] g[r, i] - x[r, i] scale[r]^3 / n sum over j of g x.
struct RmsNormGrad {
  static constexpr const char* name = "rms_norm_grad";
  struct Args {
    const void* x;
    const void* weight;
    const void* scale;
    const void* dy;
    void* dx;
    std::int64_t rows, n;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
};

}  // namespace ito::kernel
