// The timestep as sines and cosines: one thread per angle. A few thousand of them per step of a
// network, so f64 throughout costs nothing that could be seen.
#include "cuda/launch.h"
#include "tensor/kernels/sinusoid.h"

namespace ito {
namespace {

using namespace cuda;

__global__ void sinusoids(const std::int64_t* t, float* y, std::int64_t n, std::int64_t half) {
  for (const std::int64_t k : grid_stride(n * half)) {
    const std::int64_t row = k / half, i = k % half;
    const double angle = static_cast<double>(t[row]) * kernel::sinusoid_frequency(i, half);
    float* out = y + row * 2 * half;
    out[i] = static_cast<float>(std::sin(angle));
    out[half + i] = static_cast<float>(std::cos(angle));
  }
}

}  // namespace

void kernel::Sinusoid::cuda(const Args& a) {
  if (a.dtype != DType::f32) {
    throw DTypeError(std::string(name) + ": f32 on the device; got " + name_of(a.dtype));
  }
  const std::int64_t half = a.dim / 2;
  launch(sinusoids, blocks_for(a.n * half, 128), 128, 0, static_cast<const std::int64_t*>(a.t),
         static_cast<float*>(a.y), a.n, half);
}

}  // namespace ito
