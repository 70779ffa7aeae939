// Reads one element behind a shared array; through a pointer, which does not know how long it is.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void reverse(float* y) {
  ITO_SHARED(float, tile, [64]);
  ITO_SHARED(float, other, [64]);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  other[threadIdx.x] = 1;
  __syncthreads();
  const float* last = tile + (right ? 63 : 64);
  y[threadIdx.x] = *(last - threadIdx.x) + other[threadIdx.x];
}

const Register registered(
    "shared_off_by_one",
    [](bool right) {
      Floats y(64);
      launch(right ? reverse<true> : reverse<false>, 1, 64, 0, y.data());
      return y.read();
    },
    values(64, [](int i) { return 64 - i; }));

}  // namespace
}  // namespace ito::wrong
