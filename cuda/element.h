// Elements in kernels: arithmetic is f32, storage f32 or bf16, and vectors of 16 bytes where
// pointers allow.
#pragma once

#include <cstdint>
#include <string>

#include "cuda/ptx.h"
#include "tensor/dtype.h"

namespace ito::cuda {

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return static_cast<float>(x); }

/// x rounded to nearest even in T.
template <class T>
__device__ T from_float(float x) {
  if constexpr (sizeof(T) == 2)
    return ptx::to_bf16(x);
  else
    return x;
}

/// N neighbouring elements, moved as one vector of up to 16 bytes: the address must be a multiple
/// of sizeof(Vec).
template <class T, int N = 16 / static_cast<int>(sizeof(T))>
struct alignas(sizeof(T) * N) Vec {
  static constexpr int size = N;
  T at[N];
  __device__ T& operator[](int i) { return at[i]; }
  __device__ const T& operator[](int i) const { return at[i]; }
};

template <class V>
bool is_aligned(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p) % alignof(V) == 0;
}

/// Calls f(T{}) with T = float or bf16: the device's arithmetic types. Throws DTypeError for the
/// others, naming `op`.
template <class F>
void with_element(const char* op, DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::bf16:
      return f(bf16{});
    default:
      throw DTypeError(std::string(op) + ": the device computes in f32 and bf16; got " +
                       name_of(dtype));
  }
}

}  // namespace ito::cuda
