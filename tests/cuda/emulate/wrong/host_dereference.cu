// The host reads through a pointer to the device's memory.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

__global__ void count(float* y) { y[threadIdx.x] = static_cast<float>(threadIdx.x); }

const Register registered(
    "host_dereference",
    [](bool right) {
      Floats y(64);
      launch(count, 1, 64, 0, y.data());
      cuda::synchronize();
      Values v = y.read();
      if (!right) v[1] = y.data()[1];
      return v;
    },
    values(64, [](int i) { return i; }));

}  // namespace
}  // namespace ito::wrong
