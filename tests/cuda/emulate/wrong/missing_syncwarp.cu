// Lanes of a warp exchange through shared memory. A shuffle between the write and the read does not
// order them, even if it makes all lanes wait: __syncwarp does.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void exchange(float* y) {
  ITO_SHARED(float, tile, [32]);
  const unsigned lane = threadIdx.x;
  tile[lane] = static_cast<float>(lane);
  const float one = __shfl_xor_sync(cuda::full_warp, 1.0f, 1);
  if (right) __syncwarp();
  y[lane] = one + tile[31 - lane];
}

const Register registered(
    "missing_syncwarp",
    [](bool right) {
      Floats y(32);
      launch(right ? exchange<true> : exchange<false>, 1, 32, 0, y.data());
      return y.read();
    },
    values(32, [](int i) { return 32 - i; }));

}  // namespace
}  // namespace ito::wrong
