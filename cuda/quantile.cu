// Order statistics of rows: a block per row, without sorting and without memory of its own.
//
// Floats become unsigned keys of the same order. The wanted key is found bit by bit from the top:
// with the bits above fixed, the next one is 1 when at most k keys are below that candidate. Each
// bit is one pass over the row, which after the first comes from the L1 cache: 32 passes for f32,
// 16 for bf16, the lower half of whose keys follows from the sign.
#include "cuda/element.h"
#include "cuda/reduce.h"
#include "tensor/kernels/quantile.h"

namespace ito::kernel {
namespace {

using namespace cuda;

constexpr int threads = 256;
constexpr unsigned sign = 0x80000000u;

// a < b as floats exactly when key(a) < key(b); zeros of both signs have one key.
__device__ unsigned key_of(float x) {
  const unsigned bits = __float_as_uint(x + 0.0f);  // -0 becomes 0
  return bits & sign ? ~bits : bits | sign;
}
__device__ float float_of(unsigned key) { return __uint_as_float(key & sign ? key & ~sign : ~key); }

struct Smaller {
  __device__ unsigned operator()(unsigned a, unsigned b) const { return b < a ? b : a; }
};

// How many elements of the row `test` accepts; every thread gets the result.
template <class T, class F>
__device__ std::int64_t count(const T* x, std::int64_t n, std::int64_t* scratch, F test) {
  std::int64_t own = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += threads) own += test(to_float(x[i]));
  const std::int64_t total = block_reduce(own, scratch);
  __syncthreads();  // before scratch is used again
  return total;
}

template <class T>
__global__ void order_statistics(const T* x, T* lower, T* upper, std::int64_t n, std::int64_t k) {
  ITO_SHARED(std::int64_t, counts, [threads / 32]);
  ITO_SHARED(unsigned, minima, [threads / 32]);
  constexpr bool is_bf16 = sizeof(T) == 2;
  const std::int64_t r = blockIdx.x;
  x += r * n;

  unsigned found = 0;  // the largest key with at most k keys below it
  for (int bit = 31; bit >= (is_bf16 ? 16 : 0); --bit) {
    const unsigned candidate = found | 1u << bit;
    const auto below = [=](float v) { return key_of(v) < candidate; };
    if (count(x, n, counts, below) <= k) found = candidate;
  }
  if (is_bf16 && !(found & sign)) found |= 0xffffu;  // keys of negative numbers end in ones

  // The next one: the same again when it occurs often enough, else the minima key above.
  const std::int64_t up_to = count(x, n, counts, [=](float v) { return key_of(v) <= found; });
  unsigned above = ~0u;
  for (std::int64_t i = threadIdx.x; i < n; i += threads) {
    const unsigned key = key_of(to_float(x[i]));
    if (key > found) above = Smaller{}(above, key);
  }
  above = block_reduce(above, minima, Smaller{});
  const std::int64_t nans = count(x, n, counts, [](float v) { return v != v; });
  if (threadIdx.x != 0) return;
  const float nan = __uint_as_float(0x7fc00000u);
  const unsigned next = up_to > k + 1 || up_to == n ? found : above;
  lower[r] = from_float<T>(nans > 0 ? nan : float_of(found));
  upper[r] = from_float<T>(nans > 0 ? nan : float_of(next));
}

}  // namespace

void OrderStatistics::cuda(const Args& a) {
  if (a.rows == 0) return;
  with_element(name, a.dtype, [&]<class T>(T) {
    cuda::launch(order_statistics<T>, static_cast<unsigned>(a.rows), threads, 0,
                 static_cast<const T*>(a.x), static_cast<T*>(a.lower), static_cast<T*>(a.upper),
                 a.n, a.k);
  });
}

}  // namespace ito::kernel
