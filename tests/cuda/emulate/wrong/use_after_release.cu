// A kernel is queued with memory that went back to the caching allocator before.
#include "tensor/kernels/device_runtime.h"
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

__global__ void add_one(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x] + 1; }
__global__ void clear(float* x) { x[threadIdx.x] = 0; }

const Register registered(
    "use_after_release",
    [](bool right) {
      Floats y(64);
      float* x = nullptr;
      {
        cuda::Scratch<float> scratch(64);
        x = scratch.data();
        launch(clear, 1, 64, 0, x);
        if (right) launch(add_one, 1, 64, 0, x, y.data());
      }
      if (!right) launch(add_one, 1, 64, 0, x, y.data());
      const Values v = y.read();
      cuda::empty_cache(0);
      return v;
    },
    values(64, [](int) { return 1; }));

}  // namespace
}  // namespace ito::wrong
