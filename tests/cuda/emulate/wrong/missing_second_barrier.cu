// The tile is filled again while slower threads may still read it: the barrier behind the reads is
// missing.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void rotate(float* y) {
  ITO_SHARED(float, tile, [64]);
  const unsigned i = threadIdx.x;
  float sum = 0;
  for (int round = 0; round < 4; ++round) {
    tile[i] = static_cast<float>(i + round);
    __syncthreads();
    sum += tile[(i + 1) % 64];
    if (right) __syncthreads();
  }
  y[i] = sum;
}

const Register registered(
    "missing_second_barrier",
    [](bool right) {
      Floats y(64);
      launch(right ? rotate<true> : rotate<false>, 1, 64, 0, y.data());
      return y.read();
    },
    values(64, [](int i) { return 4 * ((i + 1) % 64) + 6; }));

}  // namespace
}  // namespace ito::wrong
