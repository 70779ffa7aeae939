// More static shared memory than a block may have.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void big(float* y) {
  ITO_SHARED(float, tile, [right ? 12 * 1024 : 12 * 1024 + 1]);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  y[threadIdx.x] = tile[threadIdx.x];
}

const Register registered(
    "too_much_shared",
    [](bool right) {
      Floats y(64);
      launch(right ? big<true> : big<false>, 1, 64, 0, y.data());
      return y.read();
    },
    values(64, [](int i) { return i; }));

}  // namespace
}  // namespace ito::wrong
