// The mean squared error and its gradient.
//
// Bound by memory: both arrays are read once, and the gradient, as large, is written once. Mse
// leaves one f32 per block, at most 1024, and a second launch of one block adds those in order: no
// atomics, so the same run twice gives the same bits.
#include "cuda/index.h"
#include "cuda/reduce.h"
#include "tensor/kernels/loss.h"
#include "tensor/math.h"

namespace ito::kernel {
namespace {

using namespace cuda;

constexpr int threads = 256;
constexpr std::int64_t max_blocks = 1024;

// partial[block] = sum of (a[i] - b[i])^2 over the block's share
template <int V, class T>
__global__ void squared_distance(const T* a, const T* b, float* partial, std::int64_t n) {
  ITO_SHARED(float, scratch, [threads / 32]);
  float total = 0.0f;
  for (std::int64_t i : grid_stride(ceil_div(n, V))) {
    if ((i + 1) * V <= n) {
      const Vec<T, V> va = load<V>(a + i * V), vb = load<V>(b + i * V);
      for (int k = 0; k < V; ++k) {
        const float d = to_float(va[k]) - to_float(vb[k]);
        total += d * d;
      }
    } else {
      for (std::int64_t e = i * V; e < n; ++e) {
        const float d = to_float(a[e]) - to_float(b[e]);
        total += d * d;
      }
    }
  }
  total = block_reduce(total, scratch);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

template <class T>
__global__ void mean_of_partials(const float* partial, T* y, int count, float factor) {
  ITO_SHARED(float, scratch, [threads / 32]);
  float total = 0.0f;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += threads) total += partial[i];
  total = block_reduce(total, scratch);
  if (threadIdx.x == 0) *y = from_float<T>(total * factor);
}

// da = dy 2 (a - b) / n; dy is one number in the device's memory
template <int V, class T>
__global__ void mse_grad(const T* a, const T* b, const T* dy, T* da, std::int64_t n, float factor) {
  const float scale = to_float(*dy) * factor;
  for (std::int64_t i : grid_stride(ceil_div(n, V))) {
    if ((i + 1) * V <= n) {
      const Vec<T, V> va = load<V>(a + i * V), vb = load<V>(b + i * V);
      Vec<T, V> result;
      for (int k = 0; k < V; ++k)
        result[k] = from_float<T>(scale * (to_float(va[k]) - to_float(vb[k])));
      store(da + i * V, result);
    } else {
      for (std::int64_t e = i * V; e < n; ++e) {
        da[e] = from_float<T>(scale * (to_float(a[e]) - to_float(b[e])));
      }
    }
  }
}

}  // namespace

void Mse::cuda(const Args& s) {
  with_element(name, s.dtype, [&]<class T>(T) {
    const T* a = static_cast<const T*>(s.a);
    const T* b = static_cast<const T*>(s.b);
    constexpr int V = in_16_bytes<T>;
    const bool vectors = all_aligned(a, b);
    const unsigned blocks = blocks_for(s.n, 4 * threads * (vectors ? V : 1), max_blocks);
    Scratch<float> partial(blocks);
    cuda::launch(vectors ? squared_distance<V, T> : squared_distance<1, T>, blocks, threads, 0, a,
                 b, partial.data(), s.n);
    cuda::launch(mean_of_partials<T>, 1, threads, 0, partial.data(), static_cast<T*>(s.y),
                 static_cast<int>(blocks), static_cast<float>(1.0 / static_cast<double>(s.n)));
  });
}

void MseGrad::cuda(const Args& s) {
  if (s.n == 0) return;
  with_element(name, s.dtype, [&]<class T>(T) {
    const T* a = static_cast<const T*>(s.a);
    const T* b = static_cast<const T*>(s.b);
    T* da = static_cast<T*>(s.da);
    constexpr int V = in_16_bytes<T>;
    const bool vectors = all_aligned(a, b, da);
    cuda::launch(vectors ? mse_grad<V, T> : mse_grad<1, T>,
                 blocks_for(s.n, threads * (vectors ? V : 1)), threads, 0, a, b,
                 static_cast<const T*>(s.dy), da, s.n,
                 static_cast<float>(2.0 / static_cast<double>(s.n)));
  });
}

}  // namespace ito::kernel
