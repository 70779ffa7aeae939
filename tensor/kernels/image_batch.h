// Contract: a batch of training images from a data set of bytes.
//
//   x0[i]  = (2 images[indices[i]] - 255) / 255, mirrored left to right when the uniform number of
//            sample i in `flips` is below 1/2
//
// An index outside its range gives NaN. Both halves give the same bits.
#pragma once

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
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) {
    const std::int64_t n = a.batch * a.height * a.width * a.channels;
    return {.bytes = bytes_of(n, DType::u8) + bytes_of(n, DType::f32)};
  }
};

/// A byte as a number in [-1, 1]: the f32 nearest to byte / 127.5 - 1.
ITO_HOST_DEVICE inline float from_byte(std::uint8_t byte) {
  return static_cast<float>(2 * int{byte} - 255) / 255.0f;
}

}  // namespace ito::kernel
