// Element-wise functions with broadcasting: one kernel for any number of inputs.
//
// Bound by memory (silu of bf16: 4 bytes per element, product of two f32: 12), the goal the share
// of the copy bandwidth that a plain copy has: each element of the result is written once; an input
// that steps with the result is read once, one that is repeated comes from the caches after its
// first use. Vectors of 16 bytes along the last axis, one per thread and turn: 2048 threads of a
// multiprocessor then have 32 KB per input under way, more than the 23 KB that 4.3 TB/s need at 0.7
// us over 132 of them. A rank of 1 (equal shapes, or a number) costs no index arithmetic, each
// further axis about ten integer instructions per vector.
#include "cuda/index.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/math.h"

namespace ito::kernel {
namespace {

using namespace cuda;

constexpr int threads = 256;

template <int inputs>
using Space = IndexSpace<inputs, Broadcast::max_rank>;

template <class T, int inputs>
struct Pointers {
  const T* at[inputs];
};
// Which inputs step along the last axis; the others stay on one element.
template <int inputs>
struct Flags {
  bool at[inputs];
};

template <class F>
__device__ float apply(const F& f, const float (&x)[1]) {
  return f(x[0]);
}
template <class F>
__device__ float apply(const F& f, const float (&x)[2]) {
  return f(x[0], x[1]);
}
template <class F>
__device__ float apply(const F& f, const float (&x)[3]) {
  return f(x[0], x[1], x[2]);
}

struct Select {
  __device__ float operator()(float condition, float a, float b) const {
    return condition != 0.0f ? a : b;
  }
};

template <int V, class T>
__device__ Vec<T, V> repeated(T value) {
  Vec<T, V> v;
  for (int k = 0; k < V; ++k) v[k] = value;
  return v;
}

// V results per thread and turn. `space` counts vectors: along the last axis an input steps by one
// vector (`dense`) or stays where it is. n elements; only a space of rank 1 ends within a vector.
template <int V, class T, int inputs, class F>
__global__ void elementwise(Pointers<T, inputs> x, T* y, Space<inputs> space, Flags<inputs> dense,
                            std::int64_t n, F f) {
  for (std::int64_t i : grid_stride(ceil_div(n, V))) {
    std::int64_t at[inputs];
    space.offsets(i, at);
    if ((i + 1) * V > n) {
      for (int k = 0; i * V + k < n; ++k) {
        float values[inputs];
        for (int j = 0; j < inputs; ++j)
          values[j] = to_float(x.at[j][at[j] + (dense.at[j] ? k : 0)]);
        y[i * V + k] = from_float<T>(apply(f, values));
      }
      continue;
    }
    float values[V][inputs];
    for (int j = 0; j < inputs; ++j) {
      const T* from = x.at[j] + at[j];
      const Vec<T, V> vector = dense.at[j] ? load<V>(from) : repeated<V>(*from);
      for (int k = 0; k < V; ++k) values[k][j] = to_float(vector[k]);
    }
    Vec<T, V> result;
    for (int k = 0; k < V; ++k) result[k] = from_float<T>(apply(f, values[k]));
    store(y + i * V, result);
  }
}

// Whether vectors of V elements of T cover the index space: each input is dense or repeated along
// the last axis, and starts each row at a multiple of V.
template <int V, class T, int inputs>
bool can_use_vectors(const Pointers<T, inputs>& x, const T* y, const Broadcast& index) {
  const int last = index.rank - 1;
  if (!all_aligned(y) || (last > 0 && index.size[last] % V != 0)) return false;
  for (int j = 0; j < inputs; ++j) {
    if (index.step[j][last] == 0) continue;
    if (index.step[j][last] != 1 || !all_aligned(x.at[j])) return false;
    for (int d = 0; d < last; ++d) {
      if (index.step[j][d] % V != 0) return false;
    }
  }
  return true;
}

template <int V, class T, int inputs, class F>
void run(const Pointers<T, inputs>& x, T* y, const Broadcast& index, std::int64_t n, F f) {
  Space<inputs> space;
  Flags<inputs> dense;
  space.rank = index.rank;
  for (int d = 0; d < index.rank; ++d) {
    const bool last = d == index.rank - 1;
    space.size[d] = FastDivmod(last ? ceil_div(index.size[d], V) : index.size[d]);
    for (int j = 0; j < inputs; ++j) space.step[j][d] = index.step[j][d] * (last ? V : 1);
  }
  for (int j = 0; j < inputs; ++j) dense.at[j] = index.step[j][index.rank - 1] != 0;
  const std::int64_t vectors = ceil_div(n, V);
  cuda::launch(elementwise<V, T, inputs, F>, blocks_for(vectors, threads), threads, 0, x, y, space,
               dense, n, f);
}

template <int inputs, class F>
void over(const char* name, const void* const (&from)[inputs], void* to, const Broadcast& index,
          std::int64_t n, DType dtype, F f) {
  if (n == 0) return;
  with_element(name, dtype, [&]<class T>(T) {
    Pointers<T, inputs> x;
    for (int j = 0; j < inputs; ++j) x.at[j] = static_cast<const T*>(from[j]);
    T* y = static_cast<T*>(to);
    if (can_use_vectors<in_16_bytes<T>>(x, y, index)) {
      run<in_16_bytes<T>>(x, y, index, n, f);
    } else {
      run<1>(x, y, index, n, f);
    }
  });
}

}  // namespace

template <class F>
void Unary<F>::cuda(const Args& a) {
  Broadcast index;
  index.rank = 1;
  index.size[0] = a.n;
  index.step[0][0] = 1;
  over(name, {a.x}, a.y, index, a.n, a.dtype, a.f);
}

template <class F>
void Binary<F>::cuda(const Args& a) {
  over(name, {a.a, a.b}, a.y, a.index, a.n, a.dtype, F{});
}

void Where::cuda(const Args& a) {
  over(name, {a.condition, a.a, a.b}, a.y, a.index, a.n, a.dtype, Select{});
}

// The list of kernels; tensor/kernels/elementwise.cpp has the same for the CPU.
template void Unary<Neg>::cuda(const Args&);
template void Unary<Abs>::cuda(const Args&);
template void Unary<Sign>::cuda(const Args&);
template void Unary<Exp>::cuda(const Args&);
template void Unary<Log>::cuda(const Args&);
template void Unary<Sqrt>::cuda(const Args&);
template void Unary<Rsqrt>::cuda(const Args&);
template void Unary<Sin>::cuda(const Args&);
template void Unary<Cos>::cuda(const Args&);
template void Unary<Tanh>::cuda(const Args&);
template void Unary<Sigmoid>::cuda(const Args&);
template void Unary<Silu>::cuda(const Args&);
template void Unary<Softplus>::cuda(const Args&);
template void Unary<Erf>::cuda(const Args&);
template void Unary<PowScalar>::cuda(const Args&);
template void Unary<Affine>::cuda(const Args&);
template void Unary<Clamp>::cuda(const Args&);
template void Unary<Within>::cuda(const Args&);
template void Binary<Add>::cuda(const Args&);
template void Binary<Sub>::cuda(const Args&);
template void Binary<Mul>::cuda(const Args&);
template void Binary<Div>::cuda(const Args&);
template void Binary<Pow>::cuda(const Args&);
template void Binary<Maximum>::cuda(const Args&);
template void Binary<Minimum>::cuda(const Args&);
template void Binary<SiluGrad>::cuda(const Args&);
template void Binary<Equal>::cuda(const Args&);
template void Binary<Less>::cuda(const Args&);
template void Binary<LessEqual>::cuda(const Args&);

}  // namespace ito::kernel
