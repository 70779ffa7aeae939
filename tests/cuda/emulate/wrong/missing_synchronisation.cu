// The host reads the result of a copy that it has not waited for.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

__global__ void count(float* y) { y[threadIdx.x] = static_cast<float>(threadIdx.x); }

const Register registered(
    "missing_synchronisation",
    [](bool right) {
      Floats y(64);
      Values v(64);
      launch(count, 1, 64, 0, y.data());
      cudaMemcpyAsync(v.data(), y.data(), 64 * sizeof(float), cudaMemcpyDeviceToHost,
                      cuda::stream());
      if (right) cuda::synchronize();
      const Values seen = v;
      cuda::synchronize();
      return seen;
    },
    values(64, [](int i) { return i; }));

}  // namespace
}  // namespace ito::wrong
