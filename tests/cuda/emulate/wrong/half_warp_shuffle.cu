// Half of a warp shuffles with the mask of the whole: the other half never comes.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void halves(float* y) {
  const unsigned lane = threadIdx.x;
  float value = static_cast<float>(lane);
  if (lane < 16) value = __shfl_xor_sync(right ? 0xffffu : 0xffffffffu, value, 1);
  __syncthreads();
  y[lane] = value;
}

const Register registered(
    "half_warp_shuffle",
    [](bool right) {
      Floats y(32);
      launch(right ? halves<true> : halves<false>, 1, 32, 0, y.data());
      return y.read();
    },
    values(32, [](int i) { return i < 16 ? i ^ 1 : i; }));

}  // namespace
}  // namespace ito::wrong
