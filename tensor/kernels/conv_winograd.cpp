// Convolution with 3x3 taps and stride 1 by Winograd's F(m x m, 3x3), m = 2 or 4: winograd.h has
// the transforms and the papers.
//
// The output is cut into tiles of m x m pixels; each needs t x t pixels of the source, t = m + 2. A
// row of tiles is a band.
//   1. The weights are transformed once per call to U[block][t t][in][32], a block being two
//   vectors
//      of output channels.
//   2. A task takes some bands and transforms their sources straight from the image to V[t
//   t][tiles]
//      [in]. Columns are transformed first, which neighbouring tiles share; rows and columns
//      outside the image are zeros that nobody writes.
//   3. For each block of output channels, the t t products V U of matrices [tiles, in] [in, 32] run
//      through the register tiles of direct convolution (gemm.h), and the output transform adds
//      bias and addend on the way to y.
//
// What it costs, for a tile, in vectors of 16 channels: t^2 in out / 16 multiply-adds (for m = 4,
// 2.25 for each pixel instead of 9); 120 operations and 84 writes for a vector of the input; 130
// operations and 40 writes for a vector of the output. A core does two multiply-adds and one write
// at a time, so at 32 channels the transforms take as long as the products, at 128 a quarter. V and
// the products go once to the second-level cache and back, and fill about half of it; U is read
// from the cache behind it, a vector for each two dozen multiply-adds.
//
// Few tiles change what waits for what: V of all tiles is small and made first, and a task takes
// one block, whose U it makes for 64 input channels at a time. U, t^2 / 9 times as large as the
// weights, then never leaves the second-level cache.
//
// The gradient to the input is the same correlation of dy, with the taps from the last to the first
// and the roles of the channels exchanged.
#include "tensor/kernels/conv_winograd.h"

#include <algorithm>

#include "tensor/kernels/conv_plan.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/packed_weights.h"
#include "tensor/kernels/scratch.h"
#include "tensor/kernels/winograd.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

/// How a correlation is cut into tasks: chunks of bands, and groups of channel blocks. A function
/// of the shape only.
template <class T, int m>
struct Partition {
  static constexpr Index t = m + 2, squares = t * t;
  Index across, down, bands;  // tiles in a band, bands in an image, in all
  Index chunk, chunks;        // bands of a task
  Index blocks, blocks_per_task, groups;
  Index pitch;  // between tiles in V

  explicit Partition(const Correlation<T>& c)
      : across(ceil_div(c.q, m)),
        down(ceil_div(c.p, m)),
        bands(c.n * down),
        blocks(block_count<T>(c.out)),
        pitch(padded_channels<T>(c.in)) {
    constexpr Index scratch_bytes = 640 << 10, target_tasks = 16;
    const Index tile_bytes = squares * (pitch + block_width<T>)*static_cast<Index>(sizeof(T));
    const Index max_tiles = std::max<Index>(max_tile, scratch_bytes / tile_bytes);
    chunks = ceil_div(bands, std::max<Index>(1, max_tiles / across));
    chunk = ceil_div(bands, chunks);
    chunks = ceil_div(bands, chunk);
    blocks_per_task = ceil_div(blocks, std::min(blocks, ceil_div(target_tasks, chunks)));
    groups = ceil_div(blocks, blocks_per_task);
  }
  Index block_step(Index in) const { return squares * in * block_width<T>; }  // in U
};

constexpr Index strip = 8;  // input channels whose weights and U fit the first-level cache

/// U of input channels [i, i + count) of block b, count <= strip: u[square][...][room].
template <class T, int m>
void transform_strip(const Correlation<T>& c, Index b, Index i, Index count, T* u,
                     Index square_step) {
  using V = simd::vector_of<T>;
  const Index room = block_room<T>(c.out, b);
  T packed[9 * strip * block_width<T>];
  WeightOrder order = c.order;
  order.origin += i * order.in_step;
  pack_weights(c.weight, order, b, c.out, 3, 3, count, packed);
  for (Index k = 0; k < count * room; k += simd::lanes<T>) {
    transform_square<V, 3, m + 2>(
        [](const V(&g)[3], V(&to)[m + 2]) { Winograd<T, m>::weight(g, to); },
        [&](V& g, int r, int s) { simd::load(g, packed + (r * 3 + s) * count * room + k); },
        [&](int r, int s, const V& value) {
          simd::store(u + (r * (m + 2) + s) * square_step + k, value);
        });
  }
}

/// U[block][square][in][room] of all weights. It is written through a buffer, in runs that the
/// processor can fetch ahead: single lines of t^2 places far from each other take longer than all
/// the rest.
template <class T, int m>
void transform_weights(const Correlation<T>& c, const Partition<T, m>& parts, T* u) {
  const Index strips = ceil_div(c.in, strip);
  parallel_for(parts.blocks * strips, 16, [&](Index begin, Index end) {
    T buffer[parts.squares * strip * block_width<T>];
    for (Index task = begin; task < end; ++task) {
      const Index b = task / strips, i = task % strips * strip, count = std::min(strip, c.in - i);
      const Index room = block_room<T>(c.out, b);
      transform_strip<T, m>(c, b, i, count, buffer, count * room);
      T* to = u + b * parts.block_step(c.in) + i * room;
      for (Index s = 0; s < parts.squares; ++s) {
        std::copy_n(buffer + s * count * room, count * room, to + s * c.in * room);
      }
    }
  });
}

/// A band for one vector of channels: its t source rows, at `row` for column 0. Rows outside the
/// image are null.
template <class T, int m>
struct Band {
  const T* row[m + 2];
  const T* ahead;         // the next m rows in memory, which the next band needs; or null
  Index row_step, pixel;  // from row to row, from pixel to pixel
  Index left, width;      // the first column, as in Correlation; columns of the image
  Index valid;            // channels
};

/// v[square][tile] = B^T d B. `half` has room for the transformed columns, [m across + 2][t].
template <class T, int m>
void transform_band(const Band<T, m>& band, Index across, T* half, T* v, Index square_step,
                    Index pitch) {
  using V = simd::vector_of<T>;
  constexpr int t = m + 2, lanes = simd::lanes<T>;
  V d[t], out[t];
  T* to = half;
  for (Index s = 0; s < across * m + 2; ++s) {
    const Index column = s - band.left;
    const bool inside = column >= 0 && column < band.width;
    // Pieces of one vector of channels are too short for the processor to see a stream.
    for (int r = 0; inside && band.ahead != nullptr && r < m; ++r) {
      __builtin_prefetch(band.ahead + r * band.row_step + column * band.pixel);
    }
#pragma GCC unroll 6
    for (int i = 0; i < t; ++i) {
      d[i] = V{};
      if (inside && band.row[i] != nullptr) {
        simd::load(d[i], band.row[i] + column * band.pixel, band.valid);
      }
    }
    Winograd<T, m>::input(d, out);
#pragma GCC unroll 6
    for (int i = 0; i < t; ++i, to += lanes) simd::store(to, out[i]);
  }
  for (Index k = 0; k < across; ++k, v += pitch) {
    const T* from = half + k * m * t * lanes;
    for (int i = 0; i < t; ++i, from += lanes) {
#pragma GCC unroll 6
      for (int j = 0; j < t; ++j) simd::load(d[j], from + j * t * lanes);
      Winograd<T, m>::input(d, out);
#pragma GCC unroll 6
      for (int j = 0; j < t; ++j) simd::store(v + (i * t + j) * square_step, out[j], band.valid);
    }
  }
}

/// V[square][tile][in] of bands [first, first + count).
template <class T, int m>
void transform_inputs(const Correlation<T>& c, const Partition<T, m>& parts, Index first,
                      Index count, T* v, Index square_step) {
  Scratch<T> half((parts.across * m + 2) * parts.t * simd::lanes<T>);
  const auto transform = [&](const T* x, Index channels, Index n, Index top, T* to) {
    Band<T, m> band{{}, nullptr, c.w * channels, channels, c.left, c.w, 0};
    const T* const first_row = x + (n * c.h + top) * c.w * channels;
    const Index next =
        std::min(n * c.h + top + parts.t, (n + 1) * c.h);  // counted through all images
    for (Index i = 0; i < channels; i += simd::lanes<T>) {
      for (Index r = 0; r < parts.t; ++r) {
        const bool inside = top + r >= 0 && top + r < c.h;
        band.row[r] = inside ? first_row + r * band.row_step + i : nullptr;
      }
      if (next + m <= c.n * c.h) band.ahead = x + next * band.row_step + i;
      band.valid = channels - i;
      transform_band<T, m>(band, parts.across, half.data(), to + i, square_step, parts.pitch);
    }
  };
  const Index channels = c.in - c.x2_channels;
  for (Index k = 0; k < count; ++k, v += parts.across * parts.pitch) {
    const Index n = (first + k) / parts.down, top = (first + k) % parts.down * m - c.top;
    transform(c.x, channels, n, top, v);
    if (c.x2_channels > 0) transform(c.x2, c.x2_channels, n, top, v + channels);
  }
}

/// The pixels of one tile and one vector of output channels: y = A^T M A + bias + addend.
template <class T, int m>
void transform_output(const Correlation<T>& c, Index n, Index p, Index q, Index o,
                      const T* products, Index square_step, const T* bias) {
  using V = simd::vector_of<T>;
  constexpr int t = m + 2;
  const Index rows = c.p - p, columns = c.q - q, valid = c.out - o;
  const Index origin = ((n * c.p + p) * c.q + q) * c.out + o;
  V start;
  simd::load(start, bias);
  if (c.addend != nullptr && c.addend_per_image) {
    V addend;
    simd::load(addend, c.addend + n * c.out + o, valid);
    start += addend;
  }
  const T* const addends = c.addend_per_image ? nullptr : c.addend;
  transform_square<V, t, m>(
      [](const V(&s)[t], V(&to)[m]) { Winograd<T, m>::output(s, to); },
      [&](V& s, int i, int j) { simd::load(s, products + (i * t + j) * square_step); },
      [&](int i, int j, const V& value) {
        if (i >= rows || j >= columns) return;
        const Index to = origin + (i * c.q + j) * c.out;
        V sum = value + start;
        if (addends != nullptr) {
          V addend;
          simd::load(addend, addends + to, valid);
          sum += addend;
        }
        simd::store(c.y + to, sum, valid);
      });
}

template <class T, int m>
void transform_outputs(const Correlation<T>& c, const Partition<T, m>& parts, Index first,
                       Index count, Index b, const T* products, const T* bias) {
  const Index room = block_room<T>(c.out, b), square_step = count * parts.across * room;
  for (Index k = 0; k < count * parts.across; ++k, products += room) {
    const Index band = first + k / parts.across;
    for (Index j = 0; j < block_valid<T>(c.out, b); j += simd::lanes<T>) {
      const Index o = b * block_width<T> + j;
      transform_output<T, m>(c, band / parts.down, band % parts.down * m, k % parts.across * m, o,
                             products + j, square_step, bias + o);
    }
  }
}

template <class T, int m>
void compute_task(const Correlation<T>& c, const Partition<T, m>& parts, const T* u, const T* bias,
                  Index task) {
  const Index first = task / parts.groups * parts.chunk;
  const Index count = std::min(parts.chunk, parts.bands - first), tiles = count * parts.across;
  const Index first_block = task % parts.groups * parts.blocks_per_task;
  const Index last_block = std::min(parts.blocks, first_block + parts.blocks_per_task);
  Scratch<T> v(parts.squares * tiles * parts.pitch),
      products(parts.squares * tiles * block_width<T>);
  transform_inputs(c, parts, first, count, v.data(), tiles * parts.pitch);
  for (Index b = first_block; b < last_block; ++b) {
    const Index room = block_room<T>(c.out, b);
    for (Index s = 0; s < parts.squares; ++s) {
      multiply<T>({v.data() + s * tiles * parts.pitch, parts.pitch, 1}, tiles, c.in,
                  u + b * parts.block_step(c.in) + s * c.in * room, room,
                  products.data() + s * tiles * room, room);
    }
    transform_outputs(c, parts, first, count, b, products.data(), bias);
  }
}

/// Block b for all tiles, when they are few: U is made for some input channels at a time and never
/// leaves the second-level cache.
template <class T, int m>
void compute_block(const Correlation<T>& c, const Partition<T, m>& parts, const T* v, const T* bias,
                   Index b) {
  constexpr Index max_channels = 8 * strip;
  const Index tiles = parts.bands * parts.across, room = block_room<T>(c.out, b);
  // Not a power of two, which would put the t^2 places of a write into few sets of the cache.
  const Index u_step = padded_channels<T>(max_channels * room);
  Scratch<T> u(parts.squares * u_step), products(parts.squares * tiles * room);
  for (Index i = 0; i < c.in; i += max_channels) {
    const Index count = std::min(max_channels, c.in - i);
    for (Index j = 0; j < count; j += strip) {
      transform_strip<T, m>(c, b, i + j, std::min(strip, count - j), u.data() + j * room, u_step);
    }
    for (Index s = 0; s < parts.squares; ++s) {
      multiply<T>({v + s * tiles * parts.pitch + i, parts.pitch, 1}, tiles, count,
                  u.data() + s * u_step, room, products.data() + s * tiles * room, room,
                  i == 0 ? Onto::zero : Onto::y);
    }
  }
  transform_outputs(c, parts, 0, parts.bands, b, products.data(), bias);
}

template <class T, int m>
void correlate_few_tiles(const Correlation<T>& c, const Partition<T, m>& parts, const T* bias) {
  const Index band_step = parts.across * parts.pitch, square_step = parts.bands * band_step;
  Scratch<T> v(parts.squares * square_step);
  parallel_for(parts.bands, 1, [&](Index begin, Index end) {
    transform_inputs(c, parts, begin, end - begin, v.data() + begin * band_step, square_step);
  });
  parallel_for(parts.blocks, 1, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) compute_block(c, parts, v.data(), bias, b);
  });
}

template <class T, int m>
void correlate(const Correlation<T>& c) {
  if (c.n * c.p * c.q * c.out == 0) return;
  const Partition<T, m> parts(c);
  const Index room = parts.blocks * block_width<T>;
  Scratch<T> bias(room);
  std::fill_n(bias.data(), room, T(0));
  if (c.bias != nullptr) std::copy_n(c.bias, c.out, bias.data());
  // The two ways have the same bits.
  if (parts.bands * parts.across <= max_tiles_split_by_channels && parts.blocks >= 4 &&
      c.packed == nullptr) {
    return correlate_few_tiles(c, parts, bias.data());
  }
  const WeightOrder& o = c.order;
  const PackedWeight<T> u(c.packed,
                          {PackedWeights::winograd, m, o.origin, o.out_step, o.row_step,
                           o.column_step, o.in_step, c.out, c.in},
                          parts.blocks * parts.block_step(c.in),
                          [&](T* to) { transform_weights(c, parts, to); });
  parallel_for(parts.chunks * parts.groups, 1, [&](Index begin, Index end) {
    for (Index task = begin; task < end; ++task) {
      compute_task(c, parts, u.data(), bias.data(), task);
    }
  });
}

}  // namespace

template <class T>
void correlate_winograd(const Correlation<T>& c, int m) {
  m == 2 ? correlate<T, 2>(c) : correlate<T, 4>(c);
}

template void correlate_winograd<float>(const Correlation<float>&, int);
template void correlate_winograd<double>(const Correlation<double>&, int);

}  // namespace ito::kernel
