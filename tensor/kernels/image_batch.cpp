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

// The first uniform number of sample i.
float draw(const RandomStream& r, std::int64_t i) {
  const std::uint64_t step =
      r.step_source == nullptr ? r.step : static_cast<std::uint64_t>(*r.step_source);
  float u[4];
  random_values(
      random_block(r.key, step, r.draw, r.first_sample + static_cast<std::uint64_t>(i), 0),
      /*normal=*/false, u);
  return u[0];
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

}  // namespace

void ImageBatch::cpu(const Args& a) {
  const std::int64_t pixels = a.height * a.width * a.channels;
  parallel_for(a.batch, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      float* x0 = a.x0 + i * pixels;
      if (a.indices[i] < 0 || a.indices[i] >= a.count) {
        std::fill_n(x0, pixels, nan);
      } else {
        copy_image(a, a.images + a.indices[i] * pixels, x0, a.flip && draw(a.flips, i) < 0.5f);
      }
    }
  });
}

}  // namespace ito::kernel
