// Convolution on the CPU, direct and without an im2col buffer; conv_plan.h lists the other
// algorithms, among which Conv2d and Conv2dInputGrad choose here. The register tiles and packed
// weights follow Georganas et al., "Anatomy of high-performance deep learning convolutions on SIMD
// architectures", 2018.
//
// The forward pass and the gradient to the input are both a `Correlation`: sums over taps (r, s)
// and channels of a source image times packed weights. It is computed in three steps:
//   1. The weights are packed once into blocks of two vectors of output channels, in the order in
//      which the inner loop reads them.
//   2. A task copies a slab of a few rows (or several small images) with zeros around into
//      scratch memory that fits the second-level cache, so that the inner loop needs no test for
//      borders.
//   3. For each block of output channels, tiles of up to max_tile neighbouring pixels of a row are
//      summed in registers over all taps and channels (tile.h), and bias and addend are added
//      on the way out. Rows of small images are taken in pairs.
//
// The gradient to the input at stride s splits dx into s x s classes of pixels; in each class the
// taps that meet it form an ordinary correlation of dy at stride 1, so no zeros are multiplied.
//
// It costs n p q kh kw in out multiply-adds, out rounded up to whole vectors, at about 87 % of the
// processor's peak; a copy of x, once for each group of channel blocks; and one of the weights.
#include "tensor/kernels/conv.h"

#include <algorithm>

#include "tensor/kernels/conv_correlation.h"
#include "tensor/kernels/conv_narrow.h"
#include "tensor/kernels/conv_plan.h"
#include "tensor/kernels/conv_pointwise.h"
#include "tensor/kernels/conv_winograd.h"
#include "tensor/kernels/scratch.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

/// G rows of M neighbouring pixels and one block of output channels.
template <class T>
struct Tile {
  const T* x;  // the first pixel's first tap in the padded copy
  Index kh, kw, in;
  Index tap_row, tap_column;  // steps from tap to tap in x
  Index x_row, x_pixel;       // from pixel to pixel
  const T* weight;            // [kh, kw, in, room]
  const T* bias;              // [room]
  const T* addend;            // null, or addressed by add_row, add_pixel
  Index add_row, add_pixel;
  T* y;
  Index y_row, y_pixel;
  Index valid;  // channels to write
};

template <class T>
using TileFunction = void (*)(const Tile<T>&);

/// Writes the sums of a tile whose block of channels is not full.
template <class T>
void finish_tile(const Tile<T>& t, const T* sums, int groups, int pixels, Index room) {
  for (int g = 0; g < groups; ++g) {
    for (int m = 0; m < pixels; ++m, sums += room) {
      T* y = t.y + g * t.y_row + m * t.y_pixel;
      if (t.addend == nullptr) {
        std::copy_n(sums, t.valid, y);
      } else {
        const T* addend = t.addend + g * t.add_row + m * t.add_pixel;
        for (Index o = 0; o < t.valid; ++o) y[o] = sums[o] + addend[o];
      }
    }
  }
}

template <class T, int G, int M, int NV>
void compute_tile(const Tile<T>& t) {
  constexpr int lanes = simd::lanes<T>;
  simd::vector_of<T> sums[G * M][NV];
#pragma GCC unroll 16
  for (int m = 0; m < G * M; ++m) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) simd::load(sums[m][v], t.bias + v * lanes);
  }
  const T* w = t.weight;
  for (Index r = 0; r < t.kh; ++r) {
    for (Index s = 0; s < t.kw; ++s) {
      multiply_add<T, G, M, NV>(sums, t.x + r * t.tap_row + s * t.tap_column, t.x_row, t.x_pixel, w,
                                t.in);
      w += t.in * NV * lanes;
    }
  }
  const bool full = t.valid == NV * lanes;
  if (full && t.addend != nullptr) {
#pragma GCC unroll 16
    for (int m = 0; m < G * M; ++m) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        simd::vector_of<T> addend;
        simd::load(addend, t.addend + (m / M) * t.add_row + (m % M) * t.add_pixel + v * lanes);
        sums[m][v] += addend;
      }
    }
  }
  T spill[G * M * NV * lanes];
  T* to = full ? t.y : spill;
  const Index row = full ? t.y_row : M * NV * lanes, pixel = full ? t.y_pixel : NV * lanes;
#pragma GCC unroll 16
  for (int m = 0; m < G * M; ++m) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      simd::store(to + (m / M) * row + (m % M) * pixel + v * lanes, sums[m][v]);
    }
  }
  if (!full) finish_tile(t, spill, G, M, NV * lanes);
}

template <class T, int G, int NV>
TileFunction<T> tile_function(Index m) {
  return choose<max_tile / G>(m, []<int M>() { return &compute_tile<T, G, M, NV>; });
}

template <class T>
TileFunction<T> tile_function(int g, Index m, bool two_vectors) {
  if (g == 2) return two_vectors ? tile_function<T, 2, 2>(m) : tile_function<T, 2, 1>(m);
  return two_vectors ? tile_function<T, 1, 2>(m) : tile_function<T, 1, 1>(m);
}

/// How a correlation is cut into tasks: slabs of images and rows, and groups of channel blocks. A
/// function of the shape only.
struct Partition {
  Index images, rows;  // in a slab
  Index image_slabs, row_slabs;
  Index blocks, blocks_per_task, block_groups;
  Index tasks() const { return image_slabs * row_slabs * block_groups; }
};

template <class T>
Partition partition_of(const Correlation<T>& c) {
  constexpr Index slab_bytes = 256 << 10, target_tasks = 16;
  const Index row_bytes = ((c.q - 1) * c.stride + c.kw) * padded_channels<T>(c.in) *
                          static_cast<Index>(sizeof(T)) * c.stride;
  const Index rows = std::max<Index>(1, slab_bytes / std::max<Index>(1, row_bytes));
  Partition parts{};
  parts.row_slabs = ceil_div(c.p, rows);
  parts.rows = ceil_div(c.p, parts.row_slabs);
  parts.images = std::clamp<Index>(rows / (c.p + c.kh), 1, c.n);
  parts.image_slabs = ceil_div(c.n, parts.images);
  parts.blocks = block_count<T>(c.out);
  const Index slabs = parts.image_slabs * parts.row_slabs;
  parts.blocks_per_task =
      ceil_div(parts.blocks, std::min(parts.blocks, ceil_div(target_tasks, slabs)));
  parts.block_groups = ceil_div(parts.blocks, parts.blocks_per_task);
  return parts;
}

/// A slab of source rows in scratch memory, or the source itself when nothing must be padded.
template <class T>
struct Slab {
  const T* data;
  Index image_step, row_step, pixel_step;
};

/// Sums of the rows [p0, p1) of images [n0, n1) and one block of channels.
template <class T>
void compute_block(const Correlation<T>& c, const Slab<T>& slab, Index n0, Index n1, Index p0,
                   Index p1, Index b, const T* weight, const T* bias) {
  const Index first = b * block_width<T>;
  const bool two_vectors = block_room<T>(c.out, b) == block_width<T>;
  Tile<T> t{};
  t.kh = c.kh, t.kw = c.kw, t.in = c.in;
  t.tap_row = slab.row_step, t.tap_column = slab.pixel_step;
  t.x_row = c.stride * slab.row_step, t.x_pixel = c.stride * slab.pixel_step;
  t.weight = weight, t.bias = bias;
  t.y_row = c.row_step, t.y_pixel = c.pixel_step;
  t.valid = block_valid<T>(c.out, b);
  if (!c.addend_per_image) t.add_row = c.row_step, t.add_pixel = c.pixel_step;
  const bool pairs = 2 * c.q <= max_tile;
  for (Index n = n0; n < n1; ++n) {
    for (Index p = p0; p < p1;) {
      const int g = pairs && p + 1 < p1 ? 2 : 1;
      const T* x = slab.data + (n - n0) * slab.image_step + (p - p0) * t.x_row;
      const Index y = n * c.image_step + p * c.row_step + first;
      for_tiles(c.q, [&](Index q, Index m) {
        t.x = x + q * t.x_pixel;
        t.y = c.y + y + q * c.pixel_step;
        if (c.addend != nullptr) {
          t.addend = c.addend + (c.addend_per_image ? n * c.out + first : y + q * c.pixel_step);
        }
        tile_function<T>(g, m, two_vectors)(t);
      });
      p += g;
    }
  }
}

template <class T>
void compute_task(const Correlation<T>& c, const Partition& parts, const T* packed, const T* bias,
                  Index task) {
  const Index group = task % parts.block_groups, slab_index = task / parts.block_groups;
  const Index p0 = slab_index % parts.row_slabs * parts.rows;
  const Index n0 = slab_index / parts.row_slabs * parts.images;
  const Index p1 = std::min(c.p, p0 + parts.rows), n1 = std::min(c.n, n0 + parts.images);
  const bool inside = c.x2_channels == 0 && c.top == 0 && c.left == 0 &&
                      (c.p - 1) * c.stride + c.kh <= c.h && (c.q - 1) * c.stride + c.kw <= c.w;
  const Index pixel = inside ? c.in : padded_channels<T>(c.in);
  const Index rows = (p1 - p0 - 1) * c.stride + c.kh, columns = (c.q - 1) * c.stride + c.kw;
  Scratch<T> copy(inside ? 0 : (n1 - n0) * rows * columns * pixel);
  Slab<T> slab{copy.data(), rows * columns * pixel, columns * pixel, pixel};
  if (inside) {
    slab = {c.x + (n0 * c.h + p0 * c.stride) * c.w * c.in, c.h * c.w * c.in, c.w * c.in, c.in};
  } else {
    for (Index n = n0; n < n1; ++n) {
      copy_padded(c.image(n), p0 * c.stride - c.top, -c.left, rows, columns, pixel,
                  copy.data() + (n - n0) * slab.image_step);
    }
  }
  const Index taps = c.kh * c.kw * c.in;
  const Index last = std::min(parts.blocks, (group + 1) * parts.blocks_per_task);
  for (Index b = group * parts.blocks_per_task; b < last; ++b) {
    compute_block(c, slab, n0, n1, p0, p1, b, packed + b * block_width<T> * taps,
                  bias + b * block_width<T>);
  }
}

template <class T>
void correlate(const Correlation<T>& c) {
  if (c.n * c.p * c.q * c.out == 0) return;
  if (has_few_outputs(c)) return correlate_narrow(c);
  const Partition parts = partition_of(c);
  const Index taps = c.kh * c.kw * c.in;
  Scratch<T> bias(parts.blocks * block_width<T>);
  std::fill_n(bias.data(), parts.blocks * block_width<T>, T(0));
  if (c.bias != nullptr) std::copy_n(c.bias, c.out, bias.data());
  const WeightOrder& o = c.order;
  const PackedWeight<T> packed(c.packed,
                               {PackedWeights::correlation, o.origin, o.out_step, o.row_step,
                                o.column_step, o.in_step, c.out, c.kh, c.kw, c.in},
                               parts.blocks * block_width<T> * taps, [&](T* to) {
                                 parallel_for(parts.blocks, 1, [&](Index begin, Index end) {
                                   for (Index b = begin; b < end; ++b) {
                                     pack_weights(c.weight, o, b, c.out, c.kh, c.kw, c.in,
                                                  to + b * block_width<T> * taps);
                                   }
                                 });
                               });
  parallel_for(parts.tasks(), 1, [&](Index begin, Index end) {
    for (Index task = begin; task < end; ++task) {
      compute_task(c, parts, packed.data(), bias.data(), task);
    }
  });
}

/// The rows of phase a and the columns of phase b of dx: see InputGradPhase.
template <class T>
void input_grad_of_phase(const Conv2dInputGrad::Args& args, Index a, Index b) {
  const ConvShape& s = args.shape;
  const InputGradPhase rows = input_grad_phase(a, s.h, s.kh, s.top, s.stride);
  const InputGradPhase columns = input_grad_phase(b, s.w, s.kw, s.left, s.stride);
  Correlation<T> c{};
  c.x = static_cast<const T*>(args.dy);
  c.n = s.n, c.h = s.p, c.w = s.q, c.in = s.out;
  c.kh = rows.taps, c.kw = columns.taps, c.stride = 1;
  // Taps are taken from the last to the first, so that rows of dy grow with them.
  c.top = rows.pad, c.left = columns.pad;
  c.weight = static_cast<const T*>(args.weight);
  c.order.origin =
      ((a + (rows.taps - 1) * s.stride) * s.kw + b + (columns.taps - 1) * s.stride) * s.in;
  c.order.row_step = -s.stride * s.kw * s.in;
  c.order.column_step = -s.stride * s.in;
  c.order.out_step = 1;
  c.order.in_step = s.kh * s.kw * s.in;
  c.y = static_cast<T*>(args.dx) + (rows.first * s.w + columns.first) * s.in;
  c.bias = static_cast<const T*>(args.bias);
  c.packed = args.packed;
  c.p = rows.count, c.q = columns.count, c.out = s.in;
  c.image_step = s.h * s.w * s.in, c.row_step = s.stride * s.w * s.in;
  c.pixel_step = s.stride * s.in;
  if (rows.taps == 0 || columns.taps == 0)
    c.kh = c.kw = c.top = c.left = 0;  // no tap: the bias alone
  const int m = winograd_outputs(s, ConvPass::input_grad, args.dtype);
  m > 0 ? correlate_winograd(c, m) : is_pointwise(s) ? correlate_pixels(c) : correlate(c);
}

}  // namespace

void Conv2d::cpu(const Args& args) {
  with_float(name, args.dtype, [&]<class T>(T) {
    const ConvShape& s = args.shape;
    Correlation<T> c{};
    c.x = static_cast<const T*>(args.x);
    c.n = s.n, c.h = s.h, c.w = s.w, c.in = s.in;
    c.kh = s.kh, c.kw = s.kw, c.stride = s.stride, c.top = s.top, c.left = s.left;
    c.weight = static_cast<const T*>(args.weight);
    c.order = {0, s.kh * s.kw * s.in, s.kw * s.in, s.in, 1};
    c.y = static_cast<T*>(args.y);
    c.p = s.p, c.q = s.q, c.out = s.out;
    c.image_step = s.p * s.q * s.out, c.row_step = s.q * s.out, c.pixel_step = s.out;
    c.bias = static_cast<const T*>(args.bias);
    c.addend = static_cast<const T*>(args.addend);
    c.addend_per_image = args.addend_per_image;
    c.x2 = static_cast<const T*>(args.x2), c.x2_channels = args.x2_channels;
    c.packed = args.packed;
    const bool pixels = is_pointwise(s) && !(c.addend != nullptr && c.addend_per_image);
    const int m = winograd_outputs(s, ConvPass::forward, args.dtype);
    m > 0 ? correlate_winograd(c, m) : pixels ? correlate_pixels(c) : correlate(c);
  });
}

void Conv2dInputGrad::cpu(const Args& args) {
  with_float(name, args.dtype, [&]<class T>(T) {
    for (Index a = 0; a < args.shape.stride; ++a) {
      for (Index b = 0; b < args.shape.stride; ++b) input_grad_of_phase<T>(args, a, b);
    }
  });
}

}  // namespace ito::kernel
