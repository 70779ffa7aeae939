// Blocks write the same elements.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void by_block(float* y) {
  const unsigned i = threadIdx.x + (right ? 64 * blockIdx.x : 0);
  y[i] = static_cast<float>(blockIdx.x);
}

const Register registered(
    "cross_block_race",
    [](bool right) {
      Floats y(256);
      launch(right ? by_block<true> : by_block<false>, 4, 64, 0, y.data());
      return y.read();
    },
    values(256, [](int i) { return i / 64; }));

}  // namespace
}  // namespace ito::wrong
