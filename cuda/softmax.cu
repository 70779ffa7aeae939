// Softmax of rows and its gradient, f32 inside.
//
// Bound by memory: 2 elements moved per result forward, 3 backward, and one exponential. A row of
// up to 1024 elements (256 when rows do not start at multiples of 16 bytes) is held in the
// registers of one warp: read once, written once, the row's maximum and sum by shuffles, no
// barrier. A longer row takes a block, which reads it again for each of its passes: those reads
// come from the L1 and L2 caches.
#include <limits>
#include <type_traits>

#include "cuda/index.h"
#include "cuda/reduce.h"
#include "tensor/kernels/math.h"
#include "tensor/kernels/softmax.h"
#include "tensor/math.h"

namespace ito::kernel {
namespace {

using namespace cuda;

constexpr int threads = 256;
constexpr int max_per_lane = 32;  // elements in registers; more would leave few warps at a time
constexpr float lowest = -std::numeric_limits<float>::infinity();

// One row in the registers of a warp: lane l holds vectors l, l + 32, ... of V elements.
template <int V, int vectors>
struct Row {
  float at[vectors][V];

  // `beyond` stands where the row has no element.
  template <class T>
  __device__ void read(const T* x, std::int64_t n, float beyond) {
    for (int j = 0; j < vectors; ++j) {
      const std::int64_t i = (j * 32 + threadIdx.x % 32) * V;
      if (i < n) {
        const Vec<T, V> v = load<V>(x + i);
        for (int k = 0; k < V; ++k) at[j][k] = to_float(v[k]);
      } else {
        for (int k = 0; k < V; ++k) at[j][k] = beyond;
      }
    }
  }
  template <class T>
  __device__ void write(T* y, std::int64_t n) const {
    for (int j = 0; j < vectors; ++j) {
      const std::int64_t i = (j * 32 + threadIdx.x % 32) * V;
      if (i >= n) continue;
      Vec<T, V> v;
      for (int k = 0; k < V; ++k) v[k] = from_float<T>(at[j][k]);
      store(y + i, v);
    }
  }
};

// The row of this warp; rows beyond the last are not there.
__device__ std::int64_t row_of_warp() {
  return (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / 32;
}

template <int V, int vectors, class T>
__global__ void softmax_rows(const T* x, T* y, std::int64_t rows, std::int64_t n) {
  const std::int64_t r = row_of_warp();
  if (r >= rows) return;
  Row<V, vectors> row;
  row.read(x + r * n, n, lowest);
  float highest = lowest;
  for (const auto& vector : row.at) {
    for (const float v : vector) highest = Larger{}(highest, v);
  }
  highest = warp_reduce(highest, Larger{});
  float total = 0.0f;
  for (int j = 0; j < vectors; ++j) {
    // Beyond the row e^(-inf - highest) is 0, unless highest is -inf: that row is NaN anyway.
    for (int k = 0; k < V; ++k) total += row.at[j][k] = math::exp(row.at[j][k] - highest);
  }
  const float scale = 1.0f / warp_reduce(total);
  for (auto& vector : row.at) {
    for (float& v : vector) v *= scale;
  }
  row.write(y + r * n, n);
}

template <int V, int vectors, class T>
__global__ void softmax_grad_rows(const T* y, const T* dy, T* dx, std::int64_t rows,
                                  std::int64_t n) {
  const std::int64_t r = row_of_warp();
  if (r >= rows) return;
  Row<V, vectors> p, g;
  p.read(y + r * n, n, 0.0f);
  g.read(dy + r * n, n, 0.0f);
  float dot = 0.0f;
  for (int j = 0; j < vectors; ++j) {
    for (int k = 0; k < V; ++k) dot += p.at[j][k] * g.at[j][k];
  }
  dot = warp_reduce(dot);
  for (int j = 0; j < vectors; ++j) {
    for (int k = 0; k < V; ++k) g.at[j][k] = p.at[j][k] * (g.at[j][k] - dot);
  }
  g.write(dx + r * n, n);
}

// A block per row, for rows that do not fit.
template <class T>
__global__ void softmax_long(const T* x, T* y, std::int64_t n) {
  ITO_SHARED(float, maxima, [threads / 32]);
  ITO_SHARED(float, sums, [threads / 32]);
  x += blockIdx.x * n;
  y += blockIdx.x * n;
  float highest = lowest, total = 0.0f;
  for (std::int64_t i = threadIdx.x; i < n; i += threads)
    highest = Larger{}(highest, to_float(x[i]));
  highest = block_reduce(highest, maxima, Larger{});
  for (std::int64_t i = threadIdx.x; i < n; i += threads)
    total += math::exp(to_float(x[i]) - highest);
  const float scale = 1.0f / block_reduce(total, sums);
  for (std::int64_t i = threadIdx.x; i < n; i += threads) {
    y[i] = from_float<T>(math::exp(to_float(x[i]) - highest) * scale);
  }
}

template <class T>
__global__ void softmax_grad_long(const T* y, const T* dy, T* dx, std::int64_t n) {
  ITO_SHARED(float, sums, [threads / 32]);
  y += blockIdx.x * n;
  dy += blockIdx.x * n;
  dx += blockIdx.x * n;
  float dot = 0.0f;
  for (std::int64_t i = threadIdx.x; i < n; i += threads) dot += to_float(y[i]) * to_float(dy[i]);
  dot = block_reduce(dot, sums);
  for (std::int64_t i = threadIdx.x; i < n; i += threads) {
    dx[i] = from_float<T>(to_float(y[i]) * (to_float(dy[i]) - dot));
  }
}

// Calls f(std::integral_constant) with the number of vectors of V that a lane holds, or with 0 when
// the row does not fit.
template <int V, class F>
void with_vectors(std::int64_t n, F f) {
  const std::int64_t vectors = ceil_div(n, 32 * V);
  if (vectors == 1) return f(std::integral_constant<int, 1>{});
  if (vectors == 2) return f(std::integral_constant<int, 2>{});
  if (vectors <= 4) return f(std::integral_constant<int, 4>{});
  if constexpr (8 * V <= max_per_lane) {
    if (vectors <= 8) return f(std::integral_constant<int, 8>{});
  }
  return f(std::integral_constant<int, 0>{});
}

// Rows per block are its warps.
unsigned blocks_of_rows(std::int64_t rows) { return blocks_for(rows * 32, threads, 1LL << 31); }

template <int V, class T>
void softmax(const T* x, T* y, std::int64_t rows, std::int64_t n) {
  with_vectors<V>(n, [&](auto vectors) {
    if constexpr (vectors.value == 0) {
      cuda::launch(softmax_long<T>, static_cast<unsigned>(rows), threads, 0, x, y, n);
    } else {
      cuda::launch(softmax_rows<V, vectors.value, T>, blocks_of_rows(rows), threads, 0, x, y, rows,
                   n);
    }
  });
}

template <int V, class T>
void softmax_grad(const T* y, const T* dy, T* dx, std::int64_t rows, std::int64_t n) {
  with_vectors<V>(n, [&](auto vectors) {
    if constexpr (vectors.value == 0) {
      cuda::launch(softmax_grad_long<T>, static_cast<unsigned>(rows), threads, 0, y, dy, dx, n);
    } else {
      cuda::launch(softmax_grad_rows<V, vectors.value, T>, blocks_of_rows(rows), threads, 0, y, dy,
                   dx, rows, n);
    }
  });
}

}  // namespace

void Softmax::cuda(const Args& a) {
  if (a.rows == 0 || a.n == 0) return;
  with_element(name, a.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(a.x);
    T* y = static_cast<T*>(a.y);
    constexpr int V = in_16_bytes<T>;
    if (all_aligned(x, y) && a.n % V == 0) return softmax<V>(x, y, a.rows, a.n);
    softmax<1>(x, y, a.rows, a.n);
  });
}

void SoftmaxGrad::cuda(const Args& a) {
  if (a.rows == 0 || a.n == 0) return;
  with_element(name, a.dtype, [&]<class T>(T) {
    const T* y = static_cast<const T*>(a.y);
    const T* dy = static_cast<const T*>(a.dy);
    T* dx = static_cast<T*>(a.dx);
    constexpr int V = in_16_bytes<T>;
    if (all_aligned(y, dy, dx) && a.n % V == 0) return softmax_grad<V>(y, dy, dx, a.rows, a.n);
    softmax_grad<1>(y, dy, dx, a.rows, a.n);
  });
}

}  // namespace ito::kernel
