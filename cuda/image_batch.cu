// A batch of training images: bytes gathered, mirrored and scaled in one pass.
//
// One thread makes four elements. Per element it moves 1 byte in and 4 out; written as ops (gather,
// flip, scale) the same takes about 20 bytes and four launches.
#include "cuda/index.h"
#include "tensor/kernels/image_batch.h"
#include "tensor/kernels/random.h"
#include "tensor/kernels/random_values.h"

namespace ito::kernel {
namespace {

using cuda::FastDivmod;
using cuda::grid_stride;

// The first uniform number of sample i.
__device__ float draw(const RandomStream& r, std::int64_t i) {
  const std::uint64_t step =
      r.step_source == nullptr ? r.step : static_cast<std::uint64_t>(*r.step_source);
  float u[4];
  random_values(
      random_block(r.key, step, r.draw, r.first_sample + static_cast<std::uint64_t>(i), 0),
      /*normal=*/false, u);
  return u[0];
}

// Elements e .. e + 3 of image i, NaN behind the end of the image or for an index without one.
__device__ void read_image(const ImageBatch::Args& a, std::int64_t i, unsigned e, unsigned pixels,
                           float (&x0)[4]) {
  const std::int64_t index = a.indices[i];
  const bool known = index >= 0 && index < a.count;
  const std::uint8_t* image = a.images + (known ? index * pixels : 0);
  const bool mirrored = a.flip && draw(a.flips, i) < 0.5f;
  const auto width = static_cast<unsigned>(a.width), channels = static_cast<unsigned>(a.channels);
  for (unsigned k = 0; k < 4; ++k) {
    x0[k] = nanf("");
    if (!known || e + k >= pixels) continue;
    unsigned from = e + k;
    if (mirrored) from += (width - 1 - 2 * (from / channels % width)) * channels;  // wraps: below 0
    x0[k] = from_byte(image[from]);
  }
}

template <bool whole>  // images of a multiple of four elements: one store for each four
__global__ void image_batch(ImageBatch::Args a, unsigned pixels, FastDivmod blocks) {
  for (const std::int64_t j : grid_stride(a.batch * blocks.divisor)) {
    const std::int64_t i = blocks.quotient(j), block = j - i * blocks.divisor;
    const auto e = static_cast<unsigned>(4 * block);
    float* to = a.x0 + i * pixels + e;
    float x0[4];
    read_image(a, i, e, pixels, x0);
    if constexpr (whole) {
      cuda::Vec<float, 4> v;
      for (int k = 0; k < 4; ++k) v[k] = x0[k];
      cuda::store(to, v);
    } else {
      for (unsigned k = 0; k < 4 && e + k < pixels; ++k) to[k] = x0[k];
    }
  }
}

}  // namespace

void ImageBatch::cuda(const Args& a) {
  const std::int64_t pixels = a.height * a.width * a.channels;
  if (a.batch == 0 || pixels == 0) return;
  if (pixels > std::int64_t{1} << 30) {
    throw ShapeError(std::string(name) + ": an image has at most 2^30 elements; got " +
                     std::to_string(pixels));
  }
  const bool whole = pixels % 4 == 0 && cuda::is_aligned<cuda::Vec<float>>(a.x0);
  const FastDivmod blocks((pixels + 3) / 4);
  cuda::launch(whole ? image_batch<true> : image_batch<false>,
               cuda::blocks_for(a.batch * blocks.divisor, 256), 256, 0, a,
               static_cast<unsigned>(pixels), blocks);
}

}  // namespace ito::kernel
