// The one way to start a kernel, in both builds: nvcc's and the emulated device's (g++ has no
// `<<< >>>`).
//
//   __global__ void scale(float* x, std::int64_t n, float factor) {
//     for (std::int64_t i : grid_stride(n)) x[i] *= factor;
//   }
//   launch(scale, blocks_for(n, 256), 256, 0, x, n, 2.0f);
//
//   __global__ void transpose(...) {
//     ITO_SHARED(float, tile, [32][33]);        // static shared memory: float tile[32][33]
//     ITO_DYNAMIC_SHARED(float, slab);          // dynamic: float* slab, the launch's `shared`
//     bytes
#pragma once

#include <algorithm>
#include <cstdint>
#include <source_location>

#include "cuda/runtime.h"
#include "tensor/math.h"

#if defined(__CUDACC__)
#define ITO_SHARED(T, name, ...) __shared__ T name __VA_ARGS__
#define ITO_DYNAMIC_SHARED(T, name)                                    \
  extern __shared__ __align__(128) unsigned char ito_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(ito_dynamic_shared)
#endif  // else: cuda/emulate/include/cuda_runtime.h

namespace ito::cuda {

/// The number of blocks, and where in the source it was given: errors name that line.
struct LaunchGrid {
  dim3 blocks;
  std::source_location where;
  LaunchGrid(unsigned x, const std::source_location& w = std::source_location::current())
      : blocks(x), where(w) {}
  LaunchGrid(const dim3& b, const std::source_location& w = std::source_location::current())
      : blocks(b), where(w) {}
};

/// Queues kernel(args...) on the stream. `shared`: bytes of dynamic shared memory; above 48 KiB the
/// limit of the kernel is raised first. A grid with an empty dimension does nothing. Throws
/// DeviceError with CUDA's reason.
template <class... P, class... A>
void launch(void (*kernel)(P...), const LaunchGrid& grid, dim3 block, std::size_t shared,
            A... args) {
  static_assert(sizeof...(P) == sizeof...(A), "launch: one argument per parameter of the kernel");
  const auto [x, y, z] = grid.blocks;
  if (x == 0 || y == 0 || z == 0) return;
  if (shared > 48 * 1024) {
    check(
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
        "cudaFuncSetAttribute(MaxDynamicSharedMemorySize)", grid.where);
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream();
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...), "launch of a kernel",
        grid.where);
}

/// Blocks of `block` threads for n elements, at most `max_blocks`: kernels loop with grid_stride.
inline unsigned blocks_for(std::int64_t n, std::int64_t block, std::int64_t max_blocks = 1 << 16) {
  return static_cast<unsigned>(std::min(ceil_div(n, block), max_blocks));
}

/// `for (std::int64_t i : grid_stride(n))`: this thread's share of 0 .. n-1, neighbours side by
/// side.
struct GridStride {
  struct Iterator {
    std::int64_t i, step, n;
    __device__ std::int64_t operator*() const { return i; }
    __device__ Iterator& operator++() {
      i += step;
      return *this;
    }
    __device__ bool operator!=(const Iterator&) const { return i < n; }
  };
  std::int64_t n;
  __device__ Iterator begin() const {
    return {std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x,
            std::int64_t{gridDim.x} * blockDim.x, n};
  }
  __device__ Iterator end() const { return {n, 0, n}; }
};
__device__ inline GridStride grid_stride(std::int64_t n) { return {n}; }

}  // namespace ito::cuda
