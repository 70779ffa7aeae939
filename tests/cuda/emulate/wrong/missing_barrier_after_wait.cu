// A thread waits for its own cp.async, and reads what other threads have copied.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void copied(const float* x, float* y) {
  ITO_SHARED(float, tile, [128]);
  const unsigned i = threadIdx.x;
  cuda::ptx::cp_async_16(tile + 4 * i, x + 4 * i);
  cuda::ptx::cp_async_commit();
  cuda::ptx::cp_async_wait<0>();
  if (right) __syncthreads();
  for (unsigned k = i; k < 128; k += 32) y[k] = tile[127 - k];
}

const Register registered(
    "missing_barrier_after_wait",
    [](bool right) {
      Floats x(values(128, [](int i) { return i; })), y(128);
      launch(right ? copied<true> : copied<false>, 1, 32, 0, x.data(), y.data());
      return y.read();
    },
    values(128, [](int i) { return 127 - i; }));

}  // namespace
}  // namespace ito::wrong
