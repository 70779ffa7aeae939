// mma needs all lanes of a warp; the block has only sixteen threads.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

__global__ void product(float* y) {
  const std::uint32_t ones = cuda::ptx::pack_bf16(1, 1), a[4] = {ones, ones, ones, ones};
  float d[4] = {};
  cuda::ptx::mma_m16n8k16(d, a, ones, ones);
  if (threadIdx.x < 16) y[threadIdx.x] = d[0];
}

const Register registered(
    "half_warp_mma",
    [](bool right) {
      Floats y(16);
      launch(product, 1, right ? 32 : 16, 0, y.data());
      return y.read();
    },
    values(16, [](int) { return 16; }));

}  // namespace
}  // namespace ito::wrong
