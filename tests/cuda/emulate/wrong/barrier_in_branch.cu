// Both branches have a barrier, but not the same one.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void branches(float* y) {
  ITO_SHARED(float, tile, [64]);
  const unsigned i = threadIdx.x;
  if (right) {
    tile[i] = static_cast<float>(i);
    __syncthreads();
  } else if (i < 32) {
    tile[i] = static_cast<float>(i);
    __syncthreads();
  } else {
    tile[i] = static_cast<float>(i);
    __syncthreads();
  }
  y[i] = tile[63 - i];
}

const Register registered(
    "barrier_in_branch",
    [](bool right) {
      Floats y(64);
      launch(right ? branches<true> : branches<false>, 1, 64, 0, y.data());
      return y.read();
    },
    values(64, [](int i) { return 63 - i; }));

}  // namespace
}  // namespace ito::wrong
