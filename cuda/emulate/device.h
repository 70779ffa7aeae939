// CUDA C++ for g++: qualifiers, thread indices, shared memory, barriers, shuffles and votes of the
// emulated device. Everything that waits for other threads goes to the scheduler (block.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <type_traits>

#include "cuda/emulate/atomics.h"
#include "cuda/emulate/math.h"
#include "cuda/emulate/vector_types.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

// Constant as far as a kernel can see; the scheduler, which defines them under the names after
// `asm`, changes them when it switches to another thread.
extern const uint3 threadIdx asm("ito_emulate_thread_index");
extern const uint3 blockIdx asm("ito_emulate_block_index");
extern const dim3 blockDim asm("ito_emulate_block_size");
extern const dim3 gridDim asm("ito_emulate_grid_size");
inline constexpr int warpSize = 32;

namespace ito::emulate {

using Where = std::source_location;

// The shared array of ITO_SHARED that `key` stands for, made when a block first asks.
void* shared_array(const void* key, std::size_t bytes, std::size_t alignment, const char* name);
void* dynamic_shared_array();

// An instruction of a warp, as one lane calls it. All lanes of `mask` must call the same one.
enum class WarpOp { sync, shuffle, vote, ldmatrix, mma };
struct Rendezvous {
  WarpOp kind;
  unsigned mask;
  int source = 0;           // shuffle: the lane whose value this lane gets
  unsigned size = 0;        // shuffle, ldmatrix: bytes at `value`
  void* value = nullptr;    // in and out
  unsigned word = 0;        // vote: the predicate, then the ballot
  const void* a = nullptr;  // mma: fragments
  const void* b = nullptr;
};
// Waits until all lanes of the mask have called, then computes the results of all of them.
void rendezvous(Rendezvous& call, const Where& where);
// The barrier of a block. Returns for how many threads `predicate` held.
unsigned block_barrier(bool predicate, const Where& where);
// A thread's place in its warp.
int lane_id();

template <class T>
T shuffle(unsigned mask, T value, int source, const Where& where) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                "shuffles move values of 4 or 8 bytes");
  Rendezvous m{WarpOp::shuffle, mask, source, sizeof(T), &value};
  rendezvous(m, where);
  return value;
}

// Orders what this thread did before with what threads that fence later do: the most that a
// sanitizer can be told about a fence.
void fence();

}  // namespace ito::emulate

#define ITO_SHARED(T, name, ...)                                                    \
  static_assert(std::is_trivially_copyable_v<T>, "shared memory holds plain data"); \
  static const char name##_key = 0;                                                 \
  auto& name = *static_cast<T(*) __VA_ARGS__>(                                      \
      ::ito::emulate::shared_array(&name##_key, sizeof(T __VA_ARGS__), alignof(T), #name))
#define ITO_DYNAMIC_SHARED(T, name) \
  T* const name = static_cast<T*>(::ito::emulate::dynamic_shared_array())

inline void __syncthreads(const ito::emulate::Where& where = ito::emulate::Where::current()) {
  ito::emulate::block_barrier(false, where);
}
inline int __syncthreads_count(int predicate,
                               const ito::emulate::Where& where = ito::emulate::Where::current()) {
  return static_cast<int>(ito::emulate::block_barrier(predicate != 0, where));
}
inline int __syncthreads_or(int predicate,
                            const ito::emulate::Where& where = ito::emulate::Where::current()) {
  return ito::emulate::block_barrier(predicate != 0, where) != 0;
}
inline int __syncthreads_and(int predicate,
                             const ito::emulate::Where& where = ito::emulate::Where::current()) {
  return ito::emulate::block_barrier(predicate == 0, where) == 0;
}

inline void __syncwarp(unsigned mask = 0xffffffffu,
                       const ito::emulate::Where& where = ito::emulate::Where::current()) {
  ito::emulate::Rendezvous m{ito::emulate::WarpOp::sync, mask};
  ito::emulate::rendezvous(m, where);
}

// Lanes of segments of `width`: a source outside the segment gives the lane its own value.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              const ito::emulate::Where& where = ito::emulate::Where::current()) {
  const int first = ito::emulate::lane_id() / width * width;
  return ito::emulate::shuffle(mask, value, first + (source & (width - 1)), where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 const ito::emulate::Where& where = ito::emulate::Where::current()) {
  const int lane = ito::emulate::lane_id(), first = lane / width * width;
  const int source = lane - static_cast<int>(delta);
  return ito::emulate::shuffle(mask, value, source < first ? lane : source, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   const ito::emulate::Where& where = ito::emulate::Where::current()) {
  const int lane = ito::emulate::lane_id(), end = lane / width * width + width;
  const int source = lane + static_cast<int>(delta);
  return ito::emulate::shuffle(mask, value, source >= end ? lane : source, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  const ito::emulate::Where& where = ito::emulate::Where::current()) {
  const int lane = ito::emulate::lane_id(), end = lane / width * width + width;
  const int source = lane ^ lane_mask;
  return ito::emulate::shuffle(mask, value, source >= end ? lane : source, where);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              const ito::emulate::Where& where = ito::emulate::Where::current()) {
  ito::emulate::Rendezvous m{ito::emulate::WarpOp::vote, mask};
  m.word = predicate != 0;
  ito::emulate::rendezvous(m, where);
  return m.word;
}
inline int __any_sync(unsigned mask, int predicate,
                      const ito::emulate::Where& where = ito::emulate::Where::current()) {
  return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      const ito::emulate::Where& where = ito::emulate::Where::current()) {
  return __ballot_sync(mask, predicate == 0, where) == 0;
}

inline void __threadfence() { ito::emulate::fence(); }
inline void __threadfence_block() { ito::emulate::fence(); }
