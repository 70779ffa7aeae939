// The gradient of a convolution to its weight, on the CPU; conv_plan.h lists the other algorithms,
// among which Conv2dWeightGrad chooses here.
//
//   dw[o, r, s, i] = sum over pixels of dy[n, p, q, o] x[n, p stride + r - top, q stride + s -
//   left, i]
//
// A task owns one block of output channels and a chunk of the images. It walks the chunk in groups
// of about `group_pixels` pixels whose operands fit the caches: x is copied with zeros around, dy's
// block of channels is copied densely. For every tap and every tile of up to max_tile input
// channels, the sums over the group's pixels are taken in registers (tile.h; here m is the
// input channel and k the pixel) and added to the task's own copy of the gradient. At the end the
// chunks are added in order.
//
// It costs n p q kh kw in out multiply-adds. A tile of sums is loaded and stored once for the
// `group_pixels` steps that it is in registers; x is copied once for each block of outputs.
#include <algorithm>

#include "tensor/kernels/conv.h"
#include "tensor/kernels/conv_chunks.h"
#include "tensor/kernels/conv_narrow.h"
#include "tensor/kernels/conv_plan.h"
#include "tensor/kernels/conv_pointwise.h"
#include "tensor/kernels/conv_winograd.h"
#include "tensor/kernels/pack.h"
#include "tensor/kernels/scratch.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

constexpr Index group_pixels = 128, target_tasks = 16, max_chunk_bytes = Index{64} << 20;

/// Pixels [images, rows, columns] of one tap, one tile of input channels and one block of outputs.
template <class T>
struct Tile {
  const T* x;
  Index x_image, x_row, x_pixel;
  const T* dy;  // [images, rows, columns, room]
  Index images, rows, columns;
  T* sums;  // [M, room], added to
};

template <class T>
using TileFunction = void (*)(const Tile<T>&);

template <class T, int M, int NV>
void add_tile(const Tile<T>& t) {
  constexpr int lanes = simd::lanes<T>;
  simd::vector_of<T> sums[M][NV];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) simd::load(sums[m][v], t.sums + (m * NV + v) * lanes);
  }
  const T* dy = t.dy;
  for (Index n = 0; n < t.images; ++n) {
    for (Index p = 0; p < t.rows; ++p) {
      multiply_add_dense<T, M, NV>(sums, t.x + n * t.x_image + p * t.x_row, t.x_pixel, dy,
                                   t.columns);
      dy += t.columns * NV * lanes;
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) simd::store(t.sums + (m * NV + v) * lanes, sums[m][v]);
  }
}

template <class T, int NV>
TileFunction<T> tile_function(Index m) {
  return choose<max_tile>(m, []<int M>() { return &add_tile<T, M, NV>; });
}

template <class T>
struct WeightGrad {
  const T* x;
  const T* x2;
  Index x2_channels;  // channels of x2
  const T* dy;
  ConvShape s;
  Index images, rows;  // in a group of pixels
  Index first() const { return s.in - x2_channels; }
  Index taps() const { return s.kh * s.kw * s.in; }
};

/// Adds one group of pixels, images [n0, n1) and rows [p0, p1), to sums [kh, kw, in, room].
template <class T>
void add_group(const WeightGrad<T>& g, Index n0, Index n1, Index p0, Index p1, Index b, T* x_copy,
               T* dy_copy, T* sums) {
  const ConvShape& s = g.s;
  const Index room = block_room<T>(s.out, b), valid = block_valid<T>(s.out, b);
  const Index pixel = padded_channels<T>(s.in);
  const Index rows = (p1 - p0 - 1) * s.stride + s.kh, columns = (s.q - 1) * s.stride + s.kw;
  T* dense = dy_copy;
  for (Index n = n0; n < n1; ++n) {
    const Image<T> image{g.x + n * s.h * s.w * g.first(),
                         g.x2 + n * s.h * s.w * g.x2_channels,
                         s.h,
                         s.w,
                         g.first(),
                         g.x2_channels};
    copy_padded(image, p0 * s.stride - s.top, -s.left, rows, columns, pixel,
                x_copy + (n - n0) * rows * columns * pixel);
    const T* dy = g.dy + (n * s.p + p0) * s.q * s.out + b * block_width<T>;
    for (Index i = 0; i < (p1 - p0) * s.q; ++i, dy += s.out, dense += room) {
      std::copy_n(dy, valid, dense);
      std::fill_n(dense + valid, room - valid, T(0));
    }
  }
  Tile<T> t{};
  t.x_image = rows * columns * pixel, t.x_row = s.stride * columns * pixel;
  t.x_pixel = s.stride * pixel;
  t.dy = dy_copy;
  t.images = n1 - n0, t.rows = p1 - p0, t.columns = s.q;
  for_tiles(s.in, [&](Index i, Index m) {
    const auto add = room == block_width<T> ? tile_function<T, 2>(m) : tile_function<T, 1>(m);
    for (Index r = 0; r < s.kh; ++r) {
      for (Index c = 0; c < s.kw; ++c) {
        t.x = x_copy + (r * columns + c) * pixel + i;
        t.sums = sums + ((r * s.kw + c) * s.in + i) * room;
        add(t);
      }
    }
  });
}

/// Block b of the gradient over images [n0, n1), into sums [kh, kw, in, room].
template <class T>
void compute_chunk(const WeightGrad<T>& g, Index n0, Index n1, Index b, T* sums) {
  const ConvShape& s = g.s;
  const Index room = block_room<T>(s.out, b);
  const Index rows = (g.rows - 1) * s.stride + s.kh, columns = (s.q - 1) * s.stride + s.kw;
  Scratch<T> x_copy(g.images * rows * columns * padded_channels<T>(s.in));
  Scratch<T> dy_copy(g.images * g.rows * s.q * room);
  std::fill_n(sums, g.taps() * room, T(0));
  for (Index n = n0; n < n1; n += g.images) {
    for (Index p = 0; p < s.p; p += g.rows) {
      add_group(g, n, std::min(n1, n + g.images), p, std::min(s.p, p + g.rows), b, x_copy.data(),
                dy_copy.data(), sums);
    }
  }
}

template <class T>
void weight_grad(const WeightGrad<T>& g, T* dw) {
  const ConvShape& s = g.s;
  const Index blocks = block_count<T>(s.out);
  const Index block_step = g.taps() * block_width<T>, chunk_step = blocks * block_step;
  // Chunks of images: enough tasks for many cores, without too much memory for their sums.
  const Index affordable =
      std::max<Index>(1, max_chunk_bytes / (chunk_step * static_cast<Index>(sizeof(T))));
  const Index groups = ceil_div(s.n, g.images);
  Index chunks = std::clamp<Index>(ceil_div(target_tasks, blocks), 1, affordable);
  chunks = std::clamp<Index>(chunks, 1, groups);
  const Index per_chunk = ceil_div(groups, chunks) * g.images;
  chunks = ceil_div(s.n, per_chunk);
  Scratch<T> sums(chunks * chunk_step);
  parallel_for(chunks * blocks, 1, [&](Index begin, Index end) {
    for (Index task = begin; task < end; ++task) {
      const Index chunk = task / blocks, b = task % blocks;
      compute_chunk(g, chunk * per_chunk, std::min(s.n, (chunk + 1) * per_chunk), b,
                    sums.data() + chunk * chunk_step + b * block_step);
    }
  });
  add_chunks(s, sums.data(), chunks, chunk_step, dw);
}

}  // namespace

void Conv2dWeightGrad::cpu(const Args& args) {
  const int m = winograd_outputs(args.shape, ConvPass::weight_grad, args.dtype);
  if (m > 0 && args.shape.n > 0) return conv2d_weight_grad_winograd(args, m);
  if (is_pointwise(args.shape)) return conv2d_weight_grad_pixels(args);
  with_float(name, args.dtype, [&]<class T>(T) {
    const ConvShape& s = args.shape;
    T* dw = static_cast<T*>(args.dweight);
    if (s.n * s.in * s.out == 0) {
      std::fill_n(dw, s.out * s.kh * s.kw * s.in, T(0));
      return;
    }
    if (has_few_channels<T>(s) && args.x2_channels == 0) {
      return weight_grad_narrow(s, static_cast<const T*>(args.x), static_cast<const T*>(args.dy),
                                dw);
    }
    const Index rows = std::clamp<Index>(group_pixels / s.q, 1, s.p);
    const Index images = rows < s.p ? 1 : std::clamp<Index>(group_pixels / (s.p * s.q), 1, s.n);
    weight_grad<T>({static_cast<const T*>(args.x), static_cast<const T*>(args.x2), args.x2_channels,
                    static_cast<const T*>(args.dy), s, images, rows},
                   dw);
  });
}

}  // namespace ito::kernel
