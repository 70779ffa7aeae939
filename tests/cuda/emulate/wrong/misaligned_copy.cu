// cp.async of 16 bytes from an address that is no multiple of 16.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

__global__ void copy(const float* x, float* y) {
  ITO_SHARED(float, tile, [128]);
  const unsigned i = threadIdx.x;
  cuda::ptx::cp_async_16(tile + 4 * i, x + 4 * i);
  cuda::ptx::cp_async_commit();
  cuda::ptx::cp_async_wait<0>();
  __syncthreads();
  for (unsigned k = i; k < 128; k += 32) y[k] = tile[k];
}

const Register registered(
    "misaligned_copy",
    [](bool right) {
      const int shift = right ? 4 : 2;
      Floats x(values(132, [&](int i) { return i - shift; })), y(128);
      launch(copy, 1, 32, 0, x.data() + shift, y.data());
      return y.read();
    },
    values(128, [](int i) { return i; }));

}  // namespace
}  // namespace ito::wrong
