// The headers that both halves of the kernels share must compile as device code. nvcc compiles this
// file where it is installed; nothing runs.
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/random.h"
#include "tensor/kernels/random_values.h"

namespace ito {

template <class F>
__global__ void apply(const float* x, float* y, int n, F f) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) y[i] = f(x[i]);
}

template __global__ void apply(const float*, float*, int, kernel::Exp);
template __global__ void apply(const float*, float*, int, kernel::Silu);
template __global__ void apply(const float*, float*, int, kernel::Clamp);

__global__ void random_words(PhiloxKey key, unsigned* y) {
  const PhiloxCounter c = kernel::random_block(key, 0, 0, blockIdx.x, threadIdx.x);
  y[blockIdx.x * blockDim.x + threadIdx.x] = c.c0 ^ c.c1 ^ c.c2 ^ c.c3;
}

__global__ void round_trip(bf16* y) { y[0] = bf16(static_cast<float>(y[0])); }

}  // namespace ito
