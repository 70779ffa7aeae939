// A kernel is queued with memory that has been freed.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

__global__ void add_one(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x] + 1; }

const Register registered(
    "use_after_free",
    [](bool right) {
      Floats y(64);
      float* x = nullptr;
      cuda::check(cudaMalloc(&x, 64 * sizeof(float)), "cudaMalloc");
      cuda::check(cudaMemsetAsync(x, 0, 64 * sizeof(float), cuda::stream()), "cudaMemsetAsync");
      if (!right) cudaFree(x);
      launch(add_one, 1, 64, 0, x, y.data());
      const Values v = y.read();
      if (right) cudaFree(x);
      return v;
    },
    values(64, [](int) { return 1; }));

}  // namespace
}  // namespace ito::wrong
