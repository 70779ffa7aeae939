// Writes one element behind the output.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void count(float* y, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (right ? i < n : i <= n) y[i] = static_cast<float>(i);
}

const Register registered(
    "global_write_off_by_one",
    [](bool right) {
      Floats y(60);
      launch(right ? count<true> : count<false>, 1, 64, 0, y.data(), 60);
      return y.read();
    },
    values(60, [](int i) { return i; }));

}  // namespace
}  // namespace ito::wrong
