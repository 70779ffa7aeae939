// A thread reads what its neighbours write to shared memory, without waiting for them.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void reverse(const float* x, float* y) {
  ITO_SHARED(float, tile, [64]);
  tile[threadIdx.x] = x[threadIdx.x];
  if (right) __syncthreads();
  y[threadIdx.x] = tile[63 - threadIdx.x];
}

const Register registered(
    "missing_barrier",
    [](bool right) {
      Floats x(values(64, [](int i) { return i; })), y(64);
      launch(right ? reverse<true> : reverse<false>, 1, 64, 0, x.data(), y.data());
      return y.read();
    },
    values(64, [](int i) { return 63 - i; }));

}  // namespace
}  // namespace ito::wrong
