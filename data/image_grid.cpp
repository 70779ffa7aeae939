#include <algorithm>
#include <cmath>

#include "data/batch.h"
#include "data/png.h"
#include "tensor/check.h"
#include "tensor/math.h"

namespace ito::data {

namespace {

// The number of images in a row; 0 asks for the grid nearest to a square.
std::int64_t columns_of(std::int64_t n, std::int64_t wanted) {
  const auto square = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(n))));
  return std::min(wanted == 0 ? square : wanted, n);
}

}  // namespace

std::pair<std::int64_t, std::int64_t> grid_size(std::int64_t n, std::int64_t height,
                                                std::int64_t width, std::int64_t columns,
                                                const GridOptions& options) {
  columns = columns_of(n, columns);
  const std::int64_t rows = ceil_div(n, columns);
  return {rows * (height + options.padding) + options.padding,
          columns * (width + options.padding) + options.padding};
}

Tensor image_grid(const Tensor& images, std::int64_t columns, const GridOptions& options) {
  expect_rank("image_grid", "images", images, 4);
  const auto [padding, background] = options;
  const std::int64_t n = images.size(0), height = images.size(1), width = images.size(2);
  const std::int64_t channels = images.size(3);
  if (images.numel() == 0 || (channels != 1 && channels != 3)) {
    fail<ShapeError>("image_grid: one or more images with 1 or 3 channels; got {}", images.str());
  }
  if (columns < 0 || padding < 0 || padding > 1024 || background < 0 || background > 255) {
    fail<ValueError>(
        "image_grid: columns >= 0, padding 0 to 1024, background 0 to 255; got {}, {}, {}", columns,
        padding, background);
  }
  columns = columns_of(n, columns);
  const Tensor bytes = images.dtype() == DType::u8 ? images.to(Device::cpu()) : to_bytes(images);
  const auto [grid_height, grid_width] = grid_size(n, height, width, columns, options);
  Tensor grid = Tensor::full({grid_height, grid_width, channels}, background, DType::u8);
  const std::uint8_t* from = bytes.data<std::uint8_t>();
  std::uint8_t* to = grid.mutable_data<std::uint8_t>();
  const std::int64_t line = width * channels, grid_line = grid.size(1) * channels;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t top = padding + i / columns * (height + padding);
    const std::int64_t left = padding + i % columns * (width + padding);
    for (std::int64_t y = 0; y < height; ++y, from += line) {
      std::copy_n(from, line, to + (top + y) * grid_line + left * channels);
    }
  }
  return grid;
}

Tensor upscale(const Tensor& images, std::int64_t factor) {
  expect_dtype("upscale", "images", images, DType::u8);
  if (images.rank() != 3 && images.rank() != 4) {
    fail<ShapeError>("upscale: images must be [H, W, C] or [N, H, W, C]; got {}", images.str());
  }
  if (factor < 1 || factor > 256) {
    fail<ValueError>("upscale: the factor must be from 1 to 256; got {}", factor);
  }
  const std::int64_t channels = images.size(-1), width = images.size(-2);
  const std::int64_t lines = images.numel() == 0 ? 0 : images.numel() / (channels * width);
  const Shape shape = images.shape().with(-2, width * factor).with(-3, images.size(-3) * factor);
  Tensor large = Tensor::empty(shape, DType::u8);
  const std::uint8_t* from = images.data<std::uint8_t>();
  std::uint8_t* to = large.mutable_data<std::uint8_t>();
  for (std::int64_t y = 0; y < lines; ++y) {
    const std::uint8_t* first = to;
    for (std::int64_t x = 0; x < width; ++x, from += channels) {
      for (std::int64_t k = 0; k < factor; ++k) to = std::copy_n(from, channels, to);
    }
    const std::int64_t line = to - first;
    for (std::int64_t k = 1; k < factor; ++k) to = std::copy_n(first, line, to);
  }
  return large;
}

}  // namespace ito::data
