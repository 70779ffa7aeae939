#include <cmath>

#include "cuda/element.h"
#include "cuda/reduce.h"
#include "tensor/kernels/rms_norm.h"

namespace ito::kernel {
namespace {

using namespace cuda;

constexpr int threads = 256;

// A warp per row: lane l takes elements l, l + 32, ..., so that a warp reads neighbours.
struct Place {
  std::int64_t row;
  int lane;
};
__device__ Place place() {
  const std::int64_t thread = std::int64_t{blockIdx.x} * threads + threadIdx.x;
  return {thread / 32, static_cast<int>(thread % 32)};
}

template <class T>
__global__ void forward(const T* x, const T* weight, T* scale, T* y, std::int64_t rows,
                        std::int64_t n, float eps) {
  const auto [r, lane] = place();
  if (r >= rows) return;
  float squares = 0.0f;
  for (std::int64_t i = lane; i < n; i += 32) {
    const float v = to_float(x[r * n + i]);
    squares += v * v;
  }
  const float s = 1.0f / std::sqrt(warp_reduce(squares) / static_cast<float>(n) + eps);
  if (lane == 0) scale[r] = from_float<T>(s);
  for (std::int64_t i = lane; i < n; i += 32) {
    y[r * n + i] = from_float<T>(to_float(x[r * n + i]) * s * to_float(weight[i]));
  }
}

template <class T>
__global__ void backward(const T* x, const T* weight, const T* scale, const T* dy, T* dx,
                         std::int64_t rows, std::int64_t n) {
  const auto [r, lane] = place();
  if (r >= rows) return;
  const T *xr = x + r * n, *dyr = dy + r * n;
  float dot = 0.0f;
  for (std::int64_t i = lane; i < n; i += 32) {
    dot += to_float(weight[i]) * to_float(dyr[i]) * to_float(xr[i]);
  }
  const float s = to_float(scale[r]);
  const float shared = warp_reduce(dot) * s * s * s / static_cast<float>(n);
  for (std::int64_t i = lane; i < n; i += 32) {
    const float g = to_float(weight[i]) * to_float(dyr[i]);
    dx[r * n + i] = from_float<T>(s * g - to_float(xr[i]) * shared);
  }
}

}  // namespace

void RmsNorm::cuda(const Args& a) {
  with_element(name, a.dtype, [&]<class T>(T) {
    cuda::launch(forward<T>, blocks_for(a.rows * 32, threads, 1LL << 31), threads, 0,
                 static_cast<const T*>(a.x), static_cast<const T*>(a.weight),
                 static_cast<T*>(a.scale), static_cast<T*>(a.y), a.rows, a.n,
                 static_cast<float>(a.eps));
  });
}

void RmsNormGrad::cuda(const Args& a) {
  with_element(name, a.dtype, [&]<class T>(T) {
    cuda::launch(backward<T>, blocks_for(a.rows * 32, threads, 1LL << 31), threads, 0,
                 static_cast<const T*>(a.x), static_cast<const T*>(a.weight),
                 static_cast<const T*>(a.scale), static_cast<const T*>(a.dy), static_cast<T*>(a.dx),
                 a.rows, a.n);
  });
}

}  // namespace ito::kernel
