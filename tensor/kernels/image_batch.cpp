#include "tensor/kernels/image_batch.h"

#include <array>
#include <limits>
#include <vector>

#include "tensor/kernels/random.h"
#include "tensor/kernels/random_values.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

const std::array<float, 256>& byte_values() {
  static const auto table = [] {
    std::array<float, 256> values{};
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = from_byte(static_cast<std::uint8_t>(i));
    }
    return values;
  }();
  return table;
}

// The numbers of block `block` of sample i.
void draw(const RandomStream& r, std::int64_t i, std::int64_t block, bool normal, float out[4]) {
  const std::uint64_t step =
      r.step_source == nullptr ? r.step : static_cast<std::uint64_t>(*r.step_source);
  random_values(random_block(r.key, step, r.draw, r.first_sample + static_cast<std::uint64_t>(i),
                             static_cast<std::uint64_t>(block)),
                normal, out);
}

void copy_image(const ImageBatch::Args& a, const std::uint8_t* from, float* to, bool mirrored) {
  const auto& value = byte_values();
  const std::int64_t row = a.width * a.channels, pixels = a.height * row;
  if (!mirrored) {
    for (std::int64_t e = 0; e < pixels; ++e) to[e] = value[from[e]];
    return;
  }
  for (std::int64_t y = 0; y < pixels; y += row) {
    for (std::int64_t x = 0; x < row; x += a.channels) {
      const std::uint8_t* pixel = from + y + row - a.channels - x;
      for (std::int64_t c = 0; c < a.channels; ++c) to[y + x + c] = value[pixel[c]];
    }
  }
}

template <class T>
void add_noise(const ImageBatch::Args& a, std::int64_t i, std::int64_t pixels) {
  const bool known = a.t[i] >= 0 && a.t[i] < a.timesteps;
  const float alpha = known ? a.alpha[a.t[i]] : nan, sigma = known ? a.sigma[a.t[i]] : nan;
  const float* x0 = a.x0 + i * pixels;
  float* eps = a.eps + i * pixels;
  T* x_t = static_cast<T*>(a.x_t) + i * pixels;
  for (std::int64_t e = 0; e < pixels; e += 4) {
    float noise[4];
    draw(a.noise, i, e / 4, /*normal=*/true, noise);
    for (std::int64_t k = 0; k < 4 && e + k < pixels; ++k) {
      eps[e + k] = noise[k];
      x_t[e + k] =
          static_cast<T>(rounded_product(alpha, x0[e + k]) + rounded_product(sigma, noise[k]));
    }
  }
}

}  // namespace

void ImageBatch::cpu(const Args& a) {
  const std::int64_t pixels = a.height * a.width * a.channels;
  parallel_for(a.batch, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      float* x0 = a.x0 + i * pixels;
      if (a.indices[i] < 0 || a.indices[i] >= a.count) {
        std::fill_n(x0, pixels, nan);
      } else {
        float u[4] = {1.0f};
        if (a.flip) draw(a.flips, i, 0, /*normal=*/false, u);
        copy_image(a, a.images + a.indices[i] * pixels, x0, u[0] < 0.5f);
      }
      if (a.t == nullptr) continue;
      if (a.dtype == DType::bf16) {
        add_noise<bf16>(a, i, pixels);
      } else {
        add_noise<float>(a, i, pixels);
      }
    }
  });
}

}  // namespace ito::kernel
