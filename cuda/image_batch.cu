// A batch of training images: bytes gathered, mirrored, scaled, and mixed with noise, in one pass.
//
// One thread makes the four elements of one Philox block. Per element it moves 1 byte in and 4 out
// (x0), with noise 8 + size of x_t out: 12 or 14 bytes, and nothing is read twice. Written as ops
// (gather, flip, scale, randn, two products, a sum) the same takes about 50 bytes and eight
// launches. The arithmetic (Philox and Box-Muller, about 100 instructions per element) stays below
// the time of the stores.
#include "cuda/index.h"
#include "tensor/kernels/image_batch.h"
#include "tensor/kernels/random.h"
#include "tensor/kernels/random_values.h"

namespace ito::kernel {
namespace {

using cuda::Divider;
using cuda::from_float;
using cuda::grid_stride;

// The numbers of block `block` of sample i.
__device__ void draw(const RandomStream& r, std::int64_t i, std::int64_t block, bool normal,
                     float (&out)[4]) {
  const std::uint64_t step =
      r.step_source == nullptr ? r.step : static_cast<std::uint64_t>(*r.step_source);
  random_values(random_block(r.key, step, r.draw, r.first_sample + static_cast<std::uint64_t>(i),
                             static_cast<std::uint64_t>(block)),
                normal, out);
}

// Elements e .. e + 3 of image i, NaN behind the end of the image or for an index without one.
__device__ void read_image(const ImageBatch::Args& a, std::int64_t i, unsigned e, unsigned pixels,
                           float (&x0)[4]) {
  const std::int64_t index = a.indices[i];
  const bool known = index >= 0 && index < a.count;
  const std::uint8_t* image = a.images + (known ? index * pixels : 0);
  float u[4] = {1.0f, 1.0f, 1.0f, 1.0f};
  if (a.flip) draw(a.flips, i, 0, /*normal=*/false, u);
  const bool mirrored = u[0] < 0.5f;
  const auto width = static_cast<unsigned>(a.width), channels = static_cast<unsigned>(a.channels);
  for (unsigned k = 0; k < 4; ++k) {
    x0[k] = nanf("");
    if (!known || e + k >= pixels) continue;
    unsigned from = e + k;
    if (mirrored) from += (width - 1 - 2 * (from / channels % width)) * channels;  // wraps: below 0
    x0[k] = from_byte(image[from]);
  }
}

// p[k] = values[k], all four in one store when `whole`, else those in front of the image's end.
template <bool whole, class T>
__device__ void write(T* p, const float (&values)[4], unsigned left) {
  if constexpr (whole) {
    cuda::Vec<T, 4> v;
    for (int k = 0; k < 4; ++k) v[k] = from_float<T>(values[k]);
    cuda::store(p, v);
  } else {
    for (unsigned k = 0; k < 4 && k < left; ++k) p[k] = from_float<T>(values[k]);
  }
}

template <class T, bool noisy, bool whole>
__global__ void image_batch(ImageBatch::Args a, unsigned pixels, Divider blocks) {
  for (const std::int64_t j : grid_stride(a.batch * blocks.divisor)) {
    const std::int64_t i = blocks.quotient(j), block = j - i * blocks.divisor;
    const auto e = static_cast<unsigned>(4 * block);
    const std::int64_t at = i * pixels + e;
    float x0[4];
    read_image(a, i, e, pixels, x0);
    write<whole>(a.x0 + at, x0, pixels - e);
    if constexpr (noisy) {
      const std::int64_t t = a.t[i];
      const bool known = t >= 0 && t < a.timesteps;
      const float alpha = known ? a.alpha[t] : nanf(""), sigma = known ? a.sigma[t] : nanf("");
      float eps[4], x_t[4];
      draw(a.noise, i, block, /*normal=*/true, eps);
      for (int k = 0; k < 4; ++k) {
        x_t[k] = rounded_product(alpha, x0[k]) + rounded_product(sigma, eps[k]);
      }
      write<whole>(a.eps + at, eps, pixels - e);
      write<whole>(static_cast<T*>(a.x_t) + at, x_t, pixels - e);
    }
  }
}

template <class T, bool noisy>
void launch_image_batch(const ImageBatch::Args& a, std::int64_t pixels) {
  using V = cuda::Vec<float>;
  bool whole = pixels % 4 == 0 && cuda::is_aligned<V>(a.x0);
  if (noisy) {
    whole = whole && cuda::is_aligned<V>(a.eps) && cuda::is_aligned<cuda::Vec<T, 4>>(a.x_t);
  }
  const Divider blocks((pixels + 3) / 4);
  cuda::launch(whole ? image_batch<T, noisy, true> : image_batch<T, noisy, false>,
               cuda::blocks_for(a.batch * blocks.divisor, 256), 256, 0, a,
               static_cast<unsigned>(pixels), blocks);
}

}  // namespace

void ImageBatch::cuda(const Args& a) {
  const std::int64_t pixels = a.height * a.width * a.channels;
  if (a.batch == 0 || pixels == 0) return;
  if (pixels > std::int64_t{1} << 30) {
    throw ShapeError(std::string(name) + ": an image has at most 2^30 elements; got " +
                     std::to_string(pixels));
  }
  if (a.t == nullptr) return launch_image_batch<float, false>(a, pixels);
  cuda::with_element(name, a.dtype, [&]<class T>(T) { launch_image_batch<T, true>(a, pixels); });
}

}  // namespace ito::kernel
