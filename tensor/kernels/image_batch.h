// Contract: a batch of training images from a data set of bytes, and on request its noisy version.
//
//   x0[i]  = (2 images[indices[i]] - 255) / 255, mirrored left to right when the uniform number of
//            sample i in `flips` is below 1/2
//   eps[i] = the normal numbers of sample i in `noise`
//   x_t[i] = alpha[t[i]] x0[i] + sigma[t[i]] eps[i], both products rounded: the bits of the ops
//            written one by one
//
// An index or a timestep outside its range gives NaN. Both halves give the same bits.
#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"
#include "tensor/philox.h"

namespace ito::kernel {

/// Where numbers are drawn: key and counter of kernel::Random.
struct RandomStream {
  PhiloxKey key;
  std::uint64_t step;
  const std::int64_t* step_source;  // where the step is read instead, or null
  std::uint64_t first_sample;
  std::uint32_t draw;
};

struct ImageBatch {
  static constexpr const char* name = "image_batch";
  struct Args {
    const std::uint8_t* images;   // [count, height, width, channels]
    const std::int64_t* indices;  // [batch]
    float* x0;                    // [batch, height, width, channels]
    std::int64_t count, batch, height, width, channels;
    bool flip;
    RandomStream flips;

    const std::int64_t* t;       // [batch]; null: no noise, and what follows is not read
    const float *alpha, *sigma;  // [timesteps]
    std::int64_t timesteps;
    RandomStream noise;
    float* eps;   // as x0
    void* x_t;    // as x0
    DType dtype;  // of x_t: f32, bf16
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) {
    const std::int64_t n = a.batch * a.height * a.width * a.channels;
    const double noisy = bytes_of(n, DType::f32) + bytes_of(n, a.dtype);
    return {.bytes = bytes_of(n, DType::u8) + bytes_of(n, DType::f32) + (a.t ? noisy : 0.0)};
  }
};

/// A byte as a number in [-1, 1]: the f32 nearest to byte / 127.5 - 1.
ITO_HOST_DEVICE inline float from_byte(std::uint8_t byte) {
  return static_cast<float>(2 * int{byte} - 255) / 255.0f;
}

/// a b, rounded even where a compiler would join it with a sum to an fma.
ITO_HOST_DEVICE inline float rounded_product(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return std::fma(a, b, -0.0f);
#endif
}

}  // namespace ito::kernel
