// Fill and conversion. Both are bound by memory: Fill writes each byte once, Cast reads and
// writes each once, in vectors of up to 16 bytes.
#include <bit>
#include <type_traits>

#include "cuda/index.h"
#include "tensor/kernels/fill.h"
#include "tensor/math.h"

namespace ito::kernel {
namespace {

using namespace cuda;

constexpr int threads = 256;

// y[i] = value; V neighbours at a time, the last few one by one.
template <int V, class U>
__global__ void fill(U* y, std::int64_t n, U value) {
  Vec<U, V> pattern;
  for (int k = 0; k < V; ++k) pattern[k] = value;
  for (std::int64_t i : grid_stride(ceil_div(n, V))) {
    if ((i + 1) * V <= n) {
      store(y + i * V, pattern);
    } else {
      for (std::int64_t e = i * V; e < n; ++e) y[e] = value;
    }
  }
}

// The value as bits: one kernel per size of element.
template <class U>
void fill_bits(void* to, std::int64_t n, U value) {
  U* y = static_cast<U*>(to);
  constexpr int V = in_16_bytes<U>;
  if (all_aligned(to)) {
    cuda::launch(fill<V, U>, blocks_for(ceil_div(n, V), threads), threads, 0, y, n, value);
  } else {
    cuda::launch(fill<1, U>, blocks_for(n, threads), threads, 0, y, n, value);
  }
}

// As the CPU converts. Arithmetic in between is f32 when one side is bf16.
template <class To, class From>
__host__ __device__ To cast(From x) {
  if constexpr (std::is_same_v<From, To>) {
    return x;
  } else if constexpr (std::is_same_v<From, bf16>) {
    return cast<To>(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, bf16>) {
    return bf16(static_cast<float>(x));
  } else {
    return static_cast<To>(x);
  }
}

template <int V, class To, class From>
__global__ void convert_all(const From* x, To* y, std::int64_t n) {
  for (std::int64_t i : grid_stride(ceil_div(n, V))) {
    if ((i + 1) * V <= n) {
      const Vec<From, V> from = load<V>(x + i * V);
      Vec<To, V> to;
      for (int k = 0; k < V; ++k) to[k] = cast<To>(from[k]);
      store(y + i * V, to);
    } else {
      for (std::int64_t e = i * V; e < n; ++e) y[e] = cast<To>(x[e]);
    }
  }
}

}  // namespace

void Fill::cuda(const Args& a) {
  if (a.n == 0) return;
  with_any(a.dtype, [&]<class T>(T) {
    const T value = cast<T>(a.value);
    if constexpr (sizeof(T) == 1) {
      fill_bits(a.y, a.n, value);
    } else if constexpr (sizeof(T) == 2) {
      fill_bits(a.y, a.n, value.bits);
    } else if constexpr (sizeof(T) == 4) {
      fill_bits(a.y, a.n, std::bit_cast<std::uint32_t>(value));
    } else {
      fill_bits(a.y, a.n, std::bit_cast<std::uint64_t>(value));
    }
  });
}

void Cast::cuda(const Args& a) {
  if (a.n == 0) return;
  with_any(a.from, [&]<class From>(From) {
    with_any(a.to, [&]<class To>(To) {
      const From* x = static_cast<const From*>(a.x);
      To* y = static_cast<To*>(a.y);
      constexpr int V = std::min(in_16_bytes<From>, in_16_bytes<To>);
      if (all_aligned(x, y)) {
        cuda::launch(convert_all<V, To, From>, blocks_for(ceil_div(a.n, V), threads), threads, 0, x,
                     y, a.n);
      } else {
        cuda::launch(convert_all<1, To, From>, blocks_for(a.n, threads), threads, 0, x, y, a.n);
      }
    });
  });
}

}  // namespace ito::kernel
