// The instructions that CUDA C++ has no operator for, as functions: asynchronous copies, matrix
// fragments, matrix products of a warp (PTX ISA 9.0, chapters "cp.async", "ldmatrix", "mma"). The
// emulated device has the same functions, written from the same chapters
// (cuda/emulate/ptx.h). sm_80 and newer.
//
// Fragments of mma_m16n8k16, lane = 4 g + t: element i of
//   A (8 bf16 in 4 registers)  row g + 8 ((i / 2) % 2), column 2 t + i % 2 + 8 (i / 4)
//   B (4 bf16 in 2 registers)  row k = 2 t + i % 2 + 8 (i / 2), column n = g
//   C, D (4 f32)               row g + 8 (i / 2), column 2 t + i % 2
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "tensor/dtype.h"

#if !defined(__CUDACC__)
#include "cuda/emulate/ptx.h"
#else

namespace ito::cuda::ptx {

/// f32 to bf16, to nearest even.
__device__ __forceinline__ bf16 to_bf16(float x) {
  bf16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}

/// Two bf16 in one register, `low` in bits 0 to 15.
__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
  std::uint32_t y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}

__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

/// Starts a copy of 16 bytes from global to shared memory, both aligned to 16; zeros when not
/// `valid` (`global` is then not read). Done for this thread after cp_async_wait, for others after
/// a barrier behind it.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid = true) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(bytes)
               : "memory");
}
/// The same through the first-level cache: for data that this multiprocessor reads again.
__device__ __forceinline__ void cp_async_16_cached(void* shared, const void* global,
                                                   bool valid = true) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(bytes)
               : "memory");
}
/// Closes the group of copies started since the last commit.
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Waits until at most `pending` of this thread's newest groups are under way.
template <int pending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

/// Four 8 x 8 matrices of 16-bit elements from shared memory: lane l gives the address of row l % 8
/// (16 bytes, aligned) of matrix l / 8, and gets elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4
/// of each matrix.
__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
/// The same with each matrix transposed: lane l gets rows 2 (l % 4) and 2 (l % 4) + 1 of column
/// l / 4.
__device__ __forceinline__ void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

/// d += a b on the tensor cores, by the whole warp: a 16 x 16 and b 16 x 8 in bf16, d 16 x 8 in
/// f32.
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4],
                                             std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace ito::cuda::ptx

#endif
