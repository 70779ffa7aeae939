// Copies that put the operands of products in the order in which the inner loop reads them.
#pragma once

#include <algorithm>

#include "tensor/kernels/simd_shuffle.h"
#include "tensor/kernels/tile.h"

namespace ito::kernel {

/// Distance of neighbouring pixels in a padded copy: at least `channels`, and an odd number of
/// cache lines, because pixels a power of two apart would share few sets of the cache.
template <class T>
Index padded_channels(Index channels) {
  constexpr Index line = 64 / static_cast<Index>(sizeof(T));
  if (channels < line) return channels;
  const Index lines = ceil_div(channels, line);
  return (lines | 1) * line;
}

/// to[i][c] = from[i][c] for i < count: pixels of c channels that stand `pixel` apart in `to`.
template <class T>
void copy_pixels(const T* from, Index c, Index count, Index pixel, T* to) {
  if (c == pixel) {
    std::copy_n(from, count * c, to);
    return;
  }
  for (Index i = 0; i < count; ++i, from += c, to += pixel) {
    for (Index j = 0; j < c; ++j) to[j] = from[j];
  }
}

/// An image [h, w, c] whose pixels come from one array or two: channels 0 .. first - 1 from x
/// [h, w, first], the other `x2_channels` from x2 [h, w, x2_channels].
template <class T>
struct Image {
  const T* x;
  const T* x2;
  Index h, w, first, x2_channels;
};

/// Rows of an image with zeros around: to[r][s][c] = image[first_row + r][first_column + s][c], and
/// 0 outside the image. `to` is [rows, columns, pixel] with pixel >= c; what lies behind the
/// channels of a pixel inside the image is not written.
template <class T>
void copy_padded(const Image<T>& image, Index first_row, Index first_column, Index rows,
                 Index columns, Index pixel, T* to) {
  const Index before = std::clamp<Index>(-first_column, 0, columns);
  const Index inside =
      std::clamp<Index>(image.w - std::max<Index>(first_column, 0), 0, columns - before);
  for (Index r = 0; r < rows; ++r, to += columns * pixel) {
    const Index row = first_row + r;
    if (row < 0 || row >= image.h || inside == 0) {
      std::fill_n(to, columns * pixel, T(0));
      continue;
    }
    std::fill_n(to, before * pixel, T(0));
    const Index at = row * image.w + first_column + before;
    copy_pixels(image.x + at * image.first, image.first, inside, pixel, to + before * pixel);
    if (image.x2_channels > 0) {
      copy_pixels(image.x2 + at * image.x2_channels, image.x2_channels, inside, pixel,
                  to + before * pixel + image.first);
    }
    std::fill_n(to + (before + inside) * pixel, (columns - before - inside) * pixel, T(0));
  }
}

/// Channels that block `b` of `out` channels holds, and those that it has room for: one vector when
/// that is enough, else two.
template <class T>
Index block_valid(Index out, Index b) {
  return std::min(block_width<T>, out - b * block_width<T>);
}
template <class T>
Index block_room(Index out, Index b) {
  return block_valid<T>(out, b) <= simd::lanes<T> ? simd::lanes<T> : block_width<T>;
}
template <class T>
Index block_count(Index out) {
  return ceil_div(out, block_width<T>);
}

/// How to find the weight of (output channel o, tap (r, s), input channel i) in an array:
/// origin + o out_step + r row_step + s column_step + i in_step.
struct WeightOrder {
  Index origin, out_step, row_step, column_step, in_step;
};

/// to[i][o] = from[o][i] for o < columns, i < count, where rows of `from` are from_step apart and
/// those of `to` are to_step apart: square by square in registers, the rest one by one.
template <class T>
void transpose_columns(const T* from, Index from_step, Index columns, Index count, Index to_step,
                       T* to) {
  constexpr Index lanes = simd::lanes<T>;
  const Index whole_columns = columns / lanes * lanes, whole = count / lanes * lanes;
  for (Index i = 0; i < whole; i += lanes) {
    for (Index o = 0; o < whole_columns; o += lanes) {
      simd::vector_of<T> square[lanes];
#pragma GCC unroll 16
      for (Index l = 0; l < lanes; ++l) simd::load(square[l], from + (o + l) * from_step + i);
      simd::transpose<T>(square);
#pragma GCC unroll 16
      for (Index l = 0; l < lanes; ++l) simd::store(to + (i + l) * to_step + o, square[l]);
    }
  }
  for (Index o = 0; o < columns; ++o) {
    for (Index i = o < whole_columns ? whole : 0; i < count; ++i) {
      to[i * to_step + o] = from[o * from_step + i];
    }
  }
}

/// Block b of packed weights: to[r][s][i][o - first], zero behind the last output channel.
template <class T>
void pack_weights(const T* w, const WeightOrder& order, Index b, Index out, Index kh, Index kw,
                  Index in, T* to) {
  const Index first = b * block_width<T>, valid = block_valid<T>(out, b);
  const Index room = block_room<T>(out, b);
  if (valid < room) std::fill_n(to, kh * kw * in * room, T(0));
  for (Index r = 0; r < kh; ++r) {
    for (Index s = 0; s < kw; ++s, to += in * room) {
      const T* from =
          w + order.origin + first * order.out_step + r * order.row_step + s * order.column_step;
      if (order.out_step == 1) {
        for (Index i = 0; i < in; ++i) std::copy_n(from + i * order.in_step, valid, to + i * room);
        continue;
      }
      transpose_columns(from, order.out_step, valid, in, room, to);
    }
  }
}

}  // namespace ito::kernel
