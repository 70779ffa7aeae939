// Reads one element behind the input.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void differences(const float* x, float* y, int n) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < n - (right ? 1 : 0)) y[i] = x[i + 1] - x[i];
}

const Register registered(
    "global_off_by_one",
    [](bool right) {
      Floats x(values(64, [](int i) { return i * i; })), y(64);
      launch(right ? differences<true> : differences<false>, 1, 64, 0, x.data(), y.data(), 64);
      Values v = y.read();
      if (right) v[63] = 127;  // the right kernel does not write it
      return v;
    },
    values(64, [](int i) { return 2 * i + 1; }));

}  // namespace
}  // namespace ito::wrong
