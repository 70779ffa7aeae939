// Device memory that is not freed.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

__global__ void count(float* y) { y[threadIdx.x] = static_cast<float>(threadIdx.x); }

const Register registered(
    "leak",
    [](bool right) {
      auto* y = new Floats(64);
      launch(count, 1, 64, 0, y->data());
      const Values v = y->read();
      if (right) delete y;
      return v;
    },
    values(64, [](int i) { return i; }));

}  // namespace
}  // namespace ito::wrong
