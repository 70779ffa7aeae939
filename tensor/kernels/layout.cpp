#include "tensor/kernels/layout.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "tensor/math.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

constexpr std::int64_t grain = 1 << 14;
constexpr std::int64_t tile =
    32;  // of a transposition: 32 rows of 32 elements stay in the L1 cache

template <class T>
void copy_run(const T* x, T* y, std::int64_t n, std::int64_t x_step, std::int64_t y_step) {
  if (x_step == 1 && y_step == 1) {
    std::memcpy(y, x, static_cast<std::size_t>(n) * sizeof(T));
  } else if (x_step == 0 && y_step == 1) {
    std::fill(y, y + n, *x);
  } else {
    for (std::int64_t i = 0; i < n; ++i) y[i * y_step] = x[i * x_step];
  }
}

struct Offsets {
  std::int64_t x = 0, y = 0;
};

// Offsets of number `row` of the index space of the first `axes` axes.
Offsets offsets_of(const CopyIndex& index, int axes, std::int64_t row) {
  Offsets at;
  for (int d = axes - 1; d >= 0; --d) {
    const std::int64_t i = row % index.size[d];
    row /= index.size[d];
    at.x += i * index.x_step[d];
    at.y += i * index.y_step[d];
  }
  return at;
}

// Row by row along the last axis.
template <class T>
void copy_rows(const CopyIndex& index, const T* x, T* y, std::int64_t n) {
  const int last = index.rank - 1;
  const std::int64_t count = index.size[last], x_step = index.x_step[last],
                     y_step = index.y_step[last];
  if (index.rank == 1) {
    parallel_for(n, grain, [=](std::int64_t begin, std::int64_t end) {
      copy_run(x + begin * x_step, y + begin * y_step, end - begin, x_step, y_step);
    });
    return;
  }
  // Blocks of rows that differ in the second last axis only: offsets are worked out once per block.
  const std::int64_t rows = index.size[last - 1];
  const std::int64_t x_row = index.x_step[last - 1], y_row = index.y_step[last - 1];
  const std::int64_t per_block = std::clamp<std::int64_t>(grain / count, 1, rows);
  const std::int64_t blocks = ceil_div(rows, per_block);
  const std::int64_t block_grain = std::max<std::int64_t>(1, grain / (per_block * count));
  parallel_for(n / (rows * count) * blocks, block_grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      const Offsets at = offsets_of(index, last - 1, b / blocks);
      const std::int64_t first = b % blocks * per_block;
      for (std::int64_t r = first; r < std::min(rows, first + per_block); ++r) {
        copy_run(x + at.x + r * x_row, y + at.y + r * y_row, count, x_step, y_step);
      }
    }
  });
}

// Transposition: the last axis is dense in y, the one before it dense in x. Tile by tile, so that
// both sides use whole cache lines.
template <class T>
void copy_tiles(const CopyIndex& index, const T* x, T* y, std::int64_t n) {
  const int last = index.rank - 1, other = index.rank - 2;
  const std::int64_t rows = index.size[other], columns = index.size[last];
  const std::int64_t x_step = index.x_step[last], y_step = index.y_step[other];
  const std::int64_t bands = ceil_div(rows, tile);
  const std::int64_t band_grain = std::max<std::int64_t>(1, grain / (tile * columns));
  parallel_for(n / (rows * columns) * bands, band_grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      const Offsets at = offsets_of(index, other, b / bands);
      const std::int64_t r0 = b % bands * tile, r1 = std::min(rows, r0 + tile);
      for (std::int64_t c0 = 0; c0 < columns; c0 += tile) {
        const std::int64_t c1 = std::min(columns, c0 + tile);
        for (std::int64_t r = r0; r < r1; ++r) {
          const T* px = x + at.x + r;
          T* py = y + at.y + r * y_step;
          for (std::int64_t c = c0; c < c1; ++c) py[c] = px[c * x_step];
        }
      }
    }
  });
}

template <class T>
void copy(const Copy::Args& a) {
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  CopyIndex index = a.index;
  const int last = index.rank - 1;
  if (index.x_step[last] > 1 && index.y_step[last] == 1) {
    for (int d = 0; d < last; ++d) {
      if (index.x_step[d] != 1 || index.size[d] < 4) continue;
      for (int i = d; i + 1 < last; ++i) {  // axis d moves next to the last
        std::swap(index.size[i], index.size[i + 1]);
        std::swap(index.x_step[i], index.x_step[i + 1]);
        std::swap(index.y_step[i], index.y_step[i + 1]);
      }
      return copy_tiles(index, x, y, a.n);
    }
  }
  copy_rows(index, x, y, a.n);
}

}  // namespace

void Copy::cpu(const Args& a) {
  if (a.n == 0) return;
  switch (a.element) {
    case 1:
      return copy<std::uint8_t>(a);
    case 2:
      return copy<std::uint16_t>(a);
    case 4:
      return copy<std::uint32_t>(a);
    default:
      return copy<std::uint64_t>(a);
  }
}

}  // namespace ito::kernel
