// All threads add to one number without atomics.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

template <bool right>
__global__ void total(float* y) {
  if (right) {
    atomicAdd(y, static_cast<float>(threadIdx.x));
  } else {
    const float before = __shfl_sync(cuda::full_warp, *y, 0);
    *y = before + static_cast<float>(threadIdx.x);
  }
}

const Register registered("last_writer_wins",
                          [](bool right) {
                            Floats y(Values{0});
                            launch(right ? total<true> : total<false>, 1, 64, 0, y.data());
                            return y.read();
                          },
                          {64 * 63 / 2});

}  // namespace
}  // namespace ito::wrong
