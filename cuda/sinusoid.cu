// The number as sines and cosines: a thread for each pair. Angles are in double precision.
#include "cuda/launch.h"
#include "tensor/kernels/sinusoid.h"

namespace ito {
namespace {

using namespace cuda;

template <class N>
__global__ void sinusoids(const N* t, float* y, std::int64_t n, std::int64_t half,
                          std::int64_t divisor, std::int64_t sines) {
  for (const std::int64_t k : grid_stride(n * half)) {
    const std::int64_t row = k / half, i = k % half;
    const double angle = static_cast<double>(t[row]) * kernel::sinusoid_frequency(i, divisor);
    float* out = y + row * 2 * half;
    out[sines + i] = static_cast<float>(std::sin(angle));
    out[half - sines + i] = static_cast<float>(std::cos(angle));
  }
}

template <class N>
void start(const kernel::Sinusoid::Args& a) {
  const std::int64_t half = a.dim / 2;
  launch(sinusoids<N>, blocks_for(a.n * half, 128), 128, 0, static_cast<const N*>(a.t),
         static_cast<float*>(a.y), a.n, half, a.divisor, a.cosines_first ? half : 0);
}

}  // namespace

void kernel::Sinusoid::cuda(const Args& a) {
  if (a.dtype != DType::f32) {
    throw DTypeError(std::string(name) + ": f32 on the device; got " + name_of(a.dtype));
  }
  if (a.t_dtype == DType::i64) return start<std::int64_t>(a);
  if (a.t_dtype == DType::f32) return start<float>(a);
  throw DTypeError(std::string(name) + ": t in i64 or f32 on the device; got " +
                   name_of(a.t_dtype));
}

}  // namespace ito
