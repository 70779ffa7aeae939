// A block reads what its neighbour writes, behind a barrier that is only the block's own.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

__global__ void smooth(const float* x, float* y) {
  const unsigned i = 64 * blockIdx.x + threadIdx.x;
  const float own = x[i], next = x[(i + 64) % 256];
  __syncthreads();
  y[i] = own + next;
}

const Register registered(
    "cross_block_read",
    [](bool right) {
      Floats x(values(256, [](int i) { return i / 64; })), y(256);
      launch(smooth, 4, 64, 0, x.data(), right ? y.data() : x.data());
      return right ? y.read() : x.read();
    },
    values(256, [](int i) { return i / 64 + (i / 64 + 1) % 4; }));

}  // namespace
}  // namespace ito::wrong
