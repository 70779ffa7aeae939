// A lane shuffles with a mask that it is not in.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void pairs(float* y) {
  const unsigned lane = threadIdx.x;
  y[lane] = __shfl_xor_sync(right ? 0xffffffffu : 0x7fffffffu, static_cast<float>(lane), 1);
}

const Register registered(
    "wrong_mask",
    [](bool right) {
      Floats y(32);
      launch(right ? pairs<true> : pairs<false>, 1, 32, 0, y.data());
      return y.read();
    },
    values(32, [](int i) { return i ^ 1; }));

}  // namespace
}  // namespace ito::wrong
