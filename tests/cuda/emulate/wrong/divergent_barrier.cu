// Some threads return before the barrier at which the others wait.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void halves(float* y, int n) {
  const int i = static_cast<int>(threadIdx.x);
  ITO_SHARED(float, tile, [64]);
  if (!right && i >= n) return;
  if (i < n) tile[i] = static_cast<float>(i);
  __syncthreads();
  if (i < n) y[i] = tile[n - 1 - i];
}

const Register registered(
    "divergent_barrier",
    [](bool right) {
      Floats y(50);
      launch(right ? halves<true> : halves<false>, 1, 64, 0, y.data(), 50);
      return y.read();
    },
    values(50, [](int i) { return 49 - i; }));

}  // namespace
}  // namespace ito::wrong
