// Changes of resolution by a whole factor.
//
// Bound by memory, (1 + factor^2) elements moved per element of the smaller image: a thread takes
// one vector of channels of the smaller image and the factor^2 vectors of the larger one that
// belong to it, so that each byte of either is moved once, and the factor^2 loads (or stores) of a
// thread are under way together.
#include "cuda/index.h"
#include "tensor/kernels/resample.h"

namespace ito::kernel {
namespace {

using namespace cuda;

constexpr int threads = 256;

// The smaller image [rows, w, c], rows = n h and c in vectors; `factor` times larger is the other.
struct Shapes {
  std::int64_t count;  // vectors of the smaller image
  FastDivmod w, c;
  int factor;

  // Where the block of vector i starts in the larger image, and how far its next row is, in
  // vectors.
  __device__ std::int64_t block(std::int64_t i) const {
    const std::int64_t pixel = c.quotient(i), row = w.quotient(pixel);
    const std::int64_t column = pixel - row * w.divisor;
    return row * factor * down() + column * factor * c.divisor + (i - pixel * c.divisor);
  }
  __device__ std::int64_t down() const { return w.divisor * factor * c.divisor; }
};

template <int V, class T>
__global__ void upsample(const T* x, T* y, Shapes s, float scale) {
  for (std::int64_t i : grid_stride(s.count)) {
    Vec<T, V> v = load<V>(x + i * V);
    for (int k = 0; k < V; ++k) v[k] = from_float<T>(scale * to_float(v[k]));
    T* corner = y + s.block(i) * V;
    for (int r = 0; r < s.factor; ++r) {
      for (int t = 0; t < s.factor; ++t) store(corner + (r * s.down() + t * s.c.divisor) * V, v);
    }
  }
}

template <int V, class T>
__global__ void sum_pool(const T* x, T* y, Shapes s, float scale) {
  for (std::int64_t i : grid_stride(s.count)) {
    const T* corner = x + s.block(i) * V;
    float total[V] = {};
    for (int r = 0; r < s.factor; ++r) {
      for (int t = 0; t < s.factor; ++t) {
        const Vec<T, V> v = load<V>(corner + (r * s.down() + t * s.c.divisor) * V);
        for (int k = 0; k < V; ++k) total[k] += to_float(v[k]);
      }
    }
    Vec<T, V> result;
    for (int k = 0; k < V; ++k) result[k] = from_float<T>(scale * total[k]);
    store(y + i * V, result);
  }
}

template <class Args>
Shapes shapes_of(const Args& a, int vector) {
  const std::int64_t c = a.c / vector;
  return {a.n * a.h * a.w * c, FastDivmod(a.w), FastDivmod(c), static_cast<int>(a.factor)};
}

}  // namespace

void Upsample::cuda(const Args& a) {
  if (a.n * a.h * a.w * a.c == 0) return;
  with_element(name, a.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(a.x);
    T* y = static_cast<T*>(a.y);
    constexpr int V = in_16_bytes<T>;
    const bool vectors = all_aligned(x, y) && a.c % V == 0;
    const Shapes s = shapes_of(a, vectors ? V : 1);
    cuda::launch(vectors ? upsample<V, T> : upsample<1, T>, blocks_for(s.count, threads), threads,
                 0, x, y, s, static_cast<float>(a.scale));
  });
}

void SumPool::cuda(const Args& a) {
  if (a.n * a.h * a.w * a.c == 0) return;
  with_element(name, a.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(a.x);
    T* y = static_cast<T*>(a.y);
    constexpr int V = in_16_bytes<T>;
    const bool vectors = all_aligned(x, y) && a.c % V == 0;
    const Shapes s = shapes_of(a, vectors ? V : 1);
    cuda::launch(vectors ? sum_pool<V, T> : sum_pool<1, T>, blocks_for(s.count, threads), threads,
                 0, x, y, s, static_cast<float>(a.scale));
  });
}

}  // namespace ito::kernel
