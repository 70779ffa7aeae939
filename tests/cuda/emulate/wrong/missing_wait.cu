// Reads the destination of a cp.async that nobody has waited for: only the older of two groups is
// complete.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void staged(const float* x, float* y) {
  ITO_SHARED(float, tile, [2][128]);
  const unsigned i = threadIdx.x;
  for (int stage = 0; stage < 2; ++stage) {
    cuda::ptx::cp_async_16(&tile[stage][4 * i], x + 128 * stage + 4 * i);
    cuda::ptx::cp_async_commit();
  }
  cuda::ptx::cp_async_wait<right ? 0 : 1>();
  __syncthreads();
  for (unsigned k = i; k < 128; k += 32) y[k] = tile[0][k] + tile[1][k];
}

const Register registered(
    "missing_wait",
    [](bool right) {
      Floats x(values(256, [](int i) { return i; })), y(128);
      launch(right ? staged<true> : staged<false>, 1, 32, 0, x.data(), y.data());
      return y.read();
    },
    values(128, [](int i) { return 2 * i + 128; }));

}  // namespace
}  // namespace ito::wrong
