// Contract: a number as sines and cosines, y[n, i] = sin(t[n] f_i) and y[n, dim / 2 + i] = cos(t[n]
// f_i) for i < dim / 2, or the halves exchanged, with f_i = 10000^(-i / divisor). Angles are f64 in
// both halves: in f32 that of t = 1000 is off by 3e-5.
#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"

namespace ito::kernel {

struct Sinusoid {
  static constexpr const char* name = "sinusoidal_embedding";
  struct Args {
    const void* t;  // [n]
    void* y;        // [n, dim]
    std::int64_t n, dim, divisor;
    bool cosines_first;
    DType t_dtype;  // i64, f32, f64 (cpu)
    DType dtype;    // f32, f64 (cpu)
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) {
    return {.bytes = bytes_of(a.n, a.t_dtype) + bytes_of(a.n * a.dim, a.dtype)};
  }
};

/// f_i, divisor >= 1.
ITO_HOST_DEVICE inline double sinusoid_frequency(std::int64_t i, std::int64_t divisor) {
  return std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(divisor));
}

}  // namespace ito::kernel
