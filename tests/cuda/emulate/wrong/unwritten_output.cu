// Leaves out what it takes for zero, as if memory were zero.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void diagonal(float* y) {
  const unsigned i = threadIdx.x;
  if (right || i % 9 == 0) y[i] = i % 9 == 0 ? 1.0f : 0.0f;
}

const Register registered(
    "unwritten_output",
    [](bool right) {
      Floats y(64);
      launch(right ? diagonal<true> : diagonal<false>, 1, 64, 0, y.data());
      return y.read();
    },
    values(64, [](int i) { return i % 9 == 0; }));

}  // namespace
}  // namespace ito::wrong
