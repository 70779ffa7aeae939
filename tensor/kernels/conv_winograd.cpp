// Convolution with 3x3 taps and stride 1 by Winograd's F(m x m, 3x3), m = 2 or 4: winograd.h has the
// transforms and the papers.
//
// The output is cut into tiles of m x m pixels; each needs t x t pixels of the source, t = m + 2.
//   1. The weights are transformed once per call to U[block][t t][in][32], a block being two vectors of
//      output channels.
//   2. A task takes some tiles of some images and transforms their sources straight from the image,
//      where pixels outside are read from a row of zeros, to V[t t][tiles][in].
//   3. For each block of output channels, the t t products M = V U of matrices [tiles, in] [in, 32] run
//      through the register tiles of direct convolution (gemm.h), and the output transform of M adds bias
//      and addend on the way to y.
//
// Cost per tile and vector of 16 channels: t^2 in out products (for m = 4, 2.25 for each of the 16
// pixels instead of 9); t (t + t) twelfths of multiply-adds for each input channel and about as
// many for each output channel, so the transforms cost as much as the products at about 8 channels and an
// eighth of them at 64; and V and M go once to the second-level cache and back. A task's V and M
// fill about half of that cache; U is read from the cache behind it, one vector for each
// `tiles` multiply-adds.
//
// The gradient to the input is the same correlation of dy, with the taps from the last to the first
// and the roles of the channels exchanged.
#include "tensor/kernels/conv_winograd.h"

#include <algorithm>

#include "tensor/kernels/gemm.h"
#include "tensor/kernels/weight_forms.h"
#include "tensor/kernels/winograd.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

/// y[n, p, q, o] = bias[o] + addend + sum over r, s, i of x[n, p + r - top, q + s - left, i]
/// weight(o, r, s, i), with x [n, h, w, in] in one array or two.
template <class T>
struct Correlation {
  const T* x;
  const T* x2;
  Index second;  // channels of x2
  Index n, h, w, in, top, left;
  const T* weight;
  WeightOrder order;
  T* y;
  Index p, q, out;
  const T* bias;
  const T* addend;
  bool addend_per_image;
  WeightForms* forms;  // where U is kept, or null
};

Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

/// How a correlation is cut into tasks: chunks of tiles, and groups of channel blocks. A function of
/// the shape only.
template <class T, int m>
struct Cut {
  static constexpr Index squares = (m + 2) * (m + 2);  // of V, U and M
  Index down, across, tiles;  // tiles of an image's rows and columns, of all
  Index chunk, chunks;        // tiles of a task
  Index blocks, blocks_per_task, groups;
  Index pitch;  // between tiles in V

  explicit Cut(const Correlation<T>& c)
      : down(ceil_div(c.p, m)),
        across(ceil_div(c.q, m)),
        tiles(c.n * down * across),
        blocks(block_count<T>(c.out)),
        pitch(padded_channels<T>(c.in)) {
    constexpr Index scratch_bytes = 640 << 10, wanted_tasks = 16;
    const Index tile_bytes = squares * (pitch + block_width<T>)*static_cast<Index>(sizeof(T));
    const Index most = std::max<Index>(1, scratch_bytes / tile_bytes / max_tile) * max_tile;
    chunks = ceil_div(tiles, most);
    chunk = ceil_div(tiles, chunks);
    blocks_per_task = ceil_div(blocks, std::min(blocks, ceil_div(wanted_tasks, chunks)));
    groups = ceil_div(blocks, blocks_per_task);
  }
};

/// Where a tile lies: image, first row and column of its outputs.
struct Place {
  Index n, p, q;
};

template <class T, int m>
Place place_of(const Cut<T, m>& cut, Index tile) {
  const Index per_image = cut.down * cut.across, in_image = tile % per_image;
  return {tile / per_image, in_image / cut.across * m, in_image % cut.across * m};
}

/// U of channels [i, i + count) of one block: u[square][i][room] from packed weights [3][3][count]
/// [room].
template <class T, int m>
void transform_weights(const T* packed, Index count, Index room, T* u, Index square_step) {
  using V = simd::vector_of<T>;
  for (Index k = 0; k < count * room; k += simd::lanes<T>) {
    transform_square<V, 3, m + 2>(
        [](const V(&g)[3], V(&to)[m + 2]) { Winograd<T, m>::weight(g, to); },
        [&](V& g, int i, int j) { simd::load(g, packed + (i * 3 + j) * count * room + k); },
        [&](int i, int j, const V& value) {
          simd::store(u + (i * (m + 2) + j) * square_step + k, value);
        });
  }
}

/// U[block][square][in][room] of all weights.
template <class T, int m>
void transform_weights(const Correlation<T>& c, const Cut<T, m>& cut, T* u) {
  constexpr Index strip = 32;  // input channels: their weights fit the first-level cache
  const Index strips = ceil_div(c.in, strip);
  parallel_for(cut.blocks * strips, 1, [&](Index begin, Index end) {
    T packed[9 * strip * block_width<T>];
    for (Index task = begin; task < end; ++task) {
      const Index b = task / strips, i = task % strips * strip, count = std::min(strip, c.in - i);
      const Index room = block_room<T>(c.out, b);
      WeightOrder order = c.order;
      order.origin += i * order.in_step;
      pack_weights(c.weight, order, b, c.out, 3, 3, count, packed);
      transform_weights<T, m>(packed, count, room,
                              u + b * cut.squares * c.in * block_width<T> + i * room, c.in * room);
    }
  });
}

/// V of one tile: v[square][...] of `channels` channels of an image [h, w, channels], from pixel
/// (row, column) on.
template <class T, int m>
void transform_input(const T* image, Index h, Index w, Index channels, Index row, Index column,
                     const T* zeros, T* v, Index square_step) {
  using V = simd::vector_of<T>;
  constexpr int t = m + 2;
  const T* pixel[t][t];
  for (int i = 0; i < t; ++i) {
    const bool in_rows = row + i >= 0 && row + i < h;
    for (int j = 0; j < t; ++j) {
      const bool inside = in_rows && column + j >= 0 && column + j < w;
      pixel[i][j] = inside ? image + ((row + i) * w + column + j) * channels : zeros;
    }
  }
  const auto transform = [&](auto load, auto store) {
    transform_square<V, t, t>([](const V(&d)[t], V(&to)[t]) { Winograd<T, m>::input(d, to); }, load,
                              store);
  };
  Index c = 0;
  for (; c + simd::lanes<T> <= channels; c += simd::lanes<T>) {
    transform([&](V& d, int i, int j) { simd::load(d, pixel[i][j] + c); },
              [&](int i, int j, const V& value) {
                simd::store(v + (i * t + j) * square_step + c, value);
              });
  }
  if (c == channels) return;
  transform([&](V& d, int i, int j) { simd::load(d, pixel[i][j] + c, channels - c); },
            [&](int i, int j, const V& value) {
              simd::store(v + (i * t + j) * square_step + c, value, channels - c);
            });
}

template <class T, int m>
void transform_inputs(const Correlation<T>& c, const Cut<T, m>& cut, Index first, Index count,
                      const T* zeros, T* v) {
  const Index channels = c.in - c.second, square_step = count * cut.pitch;
  for (Index k = 0; k < count; ++k, v += cut.pitch) {
    const Place at = place_of(cut, first + k);
    const Index row = at.p - c.top, column = at.q - c.left, image = at.n * c.h * c.w;
    transform_input<T, m>(c.x + image * channels, c.h, c.w, channels, row, column, zeros, v,
                          square_step);
    if (c.second > 0) {
      transform_input<T, m>(c.x2 + image * c.second, c.h, c.w, c.second, row, column, zeros,
                            v + channels, square_step);
    }
  }
}

/// The pixels of one tile and one vector of output channels: y = A^T M A + bias + addend.
template <class T, int m>
void transform_output(const Correlation<T>& c, const Place& at, Index o, const T* products,
                      Index square_step, const T* bias) {
  using V = simd::vector_of<T>;
  constexpr int t = m + 2;
  const Index rows = c.p - at.p, columns = c.q - at.q, valid = c.out - o;
  const Index origin = ((at.n * c.p + at.p) * c.q + at.q) * c.out + o;
  V start;
  simd::load(start, bias);
  if (c.addend != nullptr && c.addend_per_image) {
    V addend;
    simd::load(addend, c.addend + at.n * c.out + o, valid);
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
void compute_task(const Correlation<T>& c, const Cut<T, m>& cut, const T* u, const T* bias,
                  const T* zeros, Index task) {
  const Index first = task / cut.groups * cut.chunk;
  const Index count = std::min(cut.chunk, cut.tiles - first);
  const Index first_block = task % cut.groups * cut.blocks_per_task;
  const Index last_block = std::min(cut.blocks, first_block + cut.blocks_per_task);
  Scratch<T> v(cut.squares * count * cut.pitch);
  Scratch<T> products(cut.squares * count * block_width<T>);
  transform_inputs(c, cut, first, count, zeros, v.data());
  for (Index b = first_block; b < last_block; ++b) {
    const Index room = block_room<T>(c.out, b), o = b * block_width<T>;
    for (Index s = 0; s < cut.squares; ++s) {
      multiply<T>({v.data() + s * count * cut.pitch, cut.pitch, 1}, count, c.in,
                  u + (b * cut.squares * block_width<T> + s * room) * c.in, room,
                  products.data() + s * count * room, room);
    }
    for (Index k = 0; k < count; ++k) {
      const Place at = place_of(cut, first + k);
      for (Index j = 0; j < block_valid<T>(c.out, b); j += simd::lanes<T>) {
        transform_output<T, m>(c, at, o + j, products.data() + k * room + j, count * room,
                               bias + o + j);
      }
    }
  }
}

template <class T, int m>
void correlate(const Correlation<T>& c) {
  if (c.n * c.p * c.q * c.out == 0) return;
  const Cut<T, m> cut(c);
  const Index room = cut.blocks * block_width<T>;
  Scratch<T> bias(room), zeros(c.in);
  std::fill_n(bias.data(), room, T(0));
  if (c.bias != nullptr) std::copy_n(c.bias, c.out, bias.data());
  std::fill_n(zeros.data(), c.in, T(0));
  const WeightOrder& o = c.order;  // the other steps follow from these and the shape
  const WeightForm<T> u(c.forms, {WeightForms::winograd, m, o.origin, o.out_step, c.out, c.in},
                        cut.squares * c.in * room, [&](T* to) { transform_weights(c, cut, to); });
  parallel_for(cut.chunks * cut.groups, 1, [&](Index begin, Index end) {
    for (Index task = begin; task < end; ++task) {
      compute_task(c, cut, u.data(), bias.data(), zeros.data(), task);
    }
  });
}

template <class T>
void correlate(const Correlation<T>& c, int m) {
  m == 2 ? correlate<T, 2>(c) : correlate<T, 4>(c);
}

}  // namespace

void conv2d_winograd(const Conv2d::Args& args, int m) {
  with_float(Conv2d::name, args.dtype, [&]<class T>(T) {
    const ConvShape& s = args.shape;
    Correlation<T> c{};
    c.x = static_cast<const T*>(args.x);
    c.x2 = static_cast<const T*>(args.x2), c.second = args.second;
    c.n = s.n, c.h = s.h, c.w = s.w, c.in = s.in, c.top = s.top, c.left = s.left;
    c.weight = static_cast<const T*>(args.weight);
    c.order = {0, 9 * s.in, 3 * s.in, s.in, 1};
    c.y = static_cast<T*>(args.y);
    c.p = s.p, c.q = s.q, c.out = s.out;
    c.bias = static_cast<const T*>(args.bias);
    c.addend = static_cast<const T*>(args.addend), c.addend_per_image = args.addend_per_image;
    c.forms = args.forms;
    correlate(c, m);
  });
}

void conv2d_input_grad_winograd(const Conv2dInputGrad::Args& args, int m) {
  with_float(Conv2dInputGrad::name, args.dtype, [&]<class T>(T) {
    const ConvShape& s = args.shape;
    Correlation<T> c{};
    c.x = static_cast<const T*>(args.dy);
    c.n = s.n, c.h = s.p, c.w = s.q, c.in = s.out;
    c.top = 2 - s.top, c.left = 2 - s.left;
    c.weight = static_cast<const T*>(args.weight);
    c.order = {8 * s.in, 1, -3 * s.in, -s.in, 9 * s.in};
    c.y = static_cast<T*>(args.dx);
    c.p = s.h, c.q = s.w, c.out = s.in;
    c.bias = static_cast<const T*>(args.bias);
    c.forms = args.forms;
    correlate(c, m);
  });
}

}  // namespace ito::kernel
