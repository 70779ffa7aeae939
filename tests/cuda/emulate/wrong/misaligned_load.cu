// Moves vectors of 16 bytes from an address that is no multiple of 16.
#include "tests/cuda/emulate/wrong/case.h"

namespace ito::wrong {
namespace {

__global__ void copy_vectors(const float* x, float* y) {
  using Vector = cuda::Vec<float, 4>;
  const unsigned i = threadIdx.x;
  reinterpret_cast<Vector*>(y)[i] = reinterpret_cast<const Vector*>(x)[i];
}

const Register registered(
    "misaligned_load",
    [](bool right) {
      const int shift = right ? 4 : 1;
      Floats x(values(68, [&](int i) { return i - shift; })), y(64);
      launch(copy_vectors, 1, 16, 0, x.data() + shift, y.data());
      return y.read();
    },
    values(64, [](int i) { return i; }));

}  // namespace
}  // namespace ito::wrong
