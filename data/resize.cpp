// fit_square: crop and resize as two passes of weighted sums, along the rows and then down the
// columns.
#include <algorithm>
#include <cmath>

#include "data/dataset.h"
#include "tensor/check.h"

namespace ito::data {
namespace {

/// An output pixel is the sum of weights[k] * input[first + k].
struct Taps {
  std::int64_t first = 0;
  std::vector<float> weights;
};

/// The output pixels of resizing [start, start + side) of a line to `size` pixels.
std::vector<Taps> taps(std::int64_t start, std::int64_t side, std::int64_t size) {
  std::vector<Taps> all(static_cast<std::size_t>(size));
  const double scale = static_cast<double>(side) / static_cast<double>(size);
  for (std::int64_t i = 0; i < size; ++i) {
    Taps& t = all[static_cast<std::size_t>(i)];
    if (side >= size) {  // the mean over [i * scale, (i + 1) * scale)
      const double from = static_cast<double>(i) * scale, to = from + scale;
      const auto first = static_cast<std::int64_t>(from);
      t.first = start + first;
      for (std::int64_t k = first; k < side && static_cast<double>(k) < to; ++k) {
        const double covered =
            std::min(to, static_cast<double>(k + 1)) - std::max(from, static_cast<double>(k));
        t.weights.push_back(static_cast<float>(covered / scale));
      }
    } else {  // between the two nearest centres; beyond the outermost centre that pixel alone
      const double place = std::clamp((static_cast<double>(i) + 0.5) * scale - 0.5, 0.0,
                                      static_cast<double>(side - 1));
      const auto first =
          std::min(static_cast<std::int64_t>(place), std::max<std::int64_t>(side - 2, 0));
      const auto weight = static_cast<float>(place - static_cast<double>(first));
      t.first = start + first;
      t.weights.assign(1, 1.0f - weight);
      if (side > 1) t.weights.push_back(weight);
    }
  }
  return all;
}

}  // namespace

Tensor fit_square(const Tensor& image, std::int64_t size) {
  expect_rank("fit_square", "image", image, 3);
  expect_dtype("fit_square", "image", image, DType::u8);
  const std::int64_t height = image.size(0), width = image.size(1), channels = image.size(2);
  const std::int64_t side = std::min(height, width);
  if (image.numel() == 0 || size < 1 || size > 4096) {
    fail<ValueError>(
        "fit_square: image must not be empty and size must be from 1 to 4096; got {}, {}",
        image.str(), size);
  }
  const std::int64_t top = (height - side) / 2, left = (width - side) / 2;
  const auto columns = taps(left, side, size), rows = taps(0, side, size);
  const std::uint8_t* from = image.data<std::uint8_t>() + top * width * channels;
  std::vector<float> narrow(static_cast<std::size_t>(side * size * channels));
  float* n = narrow.data();
  for (std::int64_t y = 0; y < side; ++y, from += width * channels) {
    for (const Taps& t : columns) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const std::uint8_t* pixel = from + t.first * channels + c;
        float sum = 0;
        for (const float weight : t.weights) {
          sum += weight * static_cast<float>(*pixel);
          pixel += channels;
        }
        *n++ = sum;
      }
    }
  }
  Tensor square = Tensor::empty({size, size, channels}, DType::u8);
  std::uint8_t* out = square.mutable_data<std::uint8_t>();
  const std::int64_t line = size * channels;
  for (const Taps& t : rows) {
    for (std::int64_t i = 0; i < line; ++i) {
      const float* value = narrow.data() + t.first * line + i;
      float sum = 0;
      for (const float weight : t.weights) {
        sum += weight * *value;
        value += line;
      }
      *out++ = static_cast<std::uint8_t>(std::clamp(sum + 0.5f, 0.0f, 255.0f));
    }
  }
  return square;
}

}  // namespace ito::data
