// Four elements per thread; those behind the last whole four are forgotten.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void doubled(const float* x, float* y, int n) {
  const int i = 4 * static_cast<int>(threadIdx.x);
  for (int k = i; k < i + 4; ++k)
    if (right ? k < n : i + 4 <= n) y[k] = 2 * x[k];
}

const Register registered(
    "forgotten_tail",
    [](bool right) {
      Floats x(values(61, [](int i) { return i; })), y(61);
      launch(right ? doubled<true> : doubled<false>, 1, 32, 0, x.data(), y.data(), 61);
      return y.read();
    },
    values(61, [](int i) { return 2 * i; }));

}  // namespace
}  // namespace ito::wrong
