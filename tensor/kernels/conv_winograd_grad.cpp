// The gradient of a 3x3 convolution at stride 1 to its weight by Winograd's algorithm: the exact
// adjoint of the fast convolution F(m, 3) in its weight (winograd.h). For tiles of m x m pixels of
// dy and the t x t pixels of x that they see, t = m + 2, and each pair of channels,
//
//   dw = G^T [sum over tiles of (B^T x B) * (A dy A^T)] G              (* element by element)
//
// The sum over tiles, which is nearly all the work, is t^2 products of matrices [in, tiles] and
// [tiles, out], one for each element of the squares: t^2 / m^2 multiply-adds for a pixel and a pair
// of channels instead of 9, 4 times fewer for m = 4. Lavin and Gray, "Fast algorithms for
// convolutional neural networks", 2016.
//
// A task has one chunk of the images and some blocks of output channels. It walks the chunk in
// slabs of about 60 tiles:
//   1. x and dy are transformed straight from NHWC to V [t^2][tiles][in] and D [t^2][blocks][tiles]
//      [room]. A band, one row of tiles, is transformed along its columns first, which neighbouring
//      tiles share, then tile by tile along its rows.
//   2. For each block of outputs and up to max_tile inputs the t^2 products V^T D of the slab are
//      summed in registers (tile.h). G^T . G takes them to 9 taps while they lie in the
//      first-level cache, so that only these are kept: sums between slabs and chunks are as small
//      as in the direct algorithm.
// At the end the chunks are added in order.
//
// What it costs beside the products, in cycles with 16 lanes and 2 multiply-adds a cycle: a vector
// of a tile's input channels takes about 120 to transform, one of its outputs 80, and is then used
// for 18 out, 18 in cycles of products: with 64 channels on both sides a tenth, with 32 a fifth;
// and the taps of a slab take 1/8 of what its products do. The slab's V and D, 60 tiles of 144 (in
// + out) bytes, are written and read once in the second-level cache. Longer slabs leave that cache,
// shorter ones pay for the taps.
#include <algorithm>

#include "tensor/kernels/conv_chunks.h"
#include "tensor/kernels/conv_winograd.h"
#include "tensor/kernels/pack.h"
#include "tensor/kernels/scratch.h"
#include "tensor/kernels/winograd.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

constexpr Index slab_tiles = 64;

/// How the sum is cut, a function of the shape only. Bands are counted through all images.
struct Partition {
  Index tiles;              // in a band
  Index rows, bands;        // bands of an image, of all
  Index chunks, per_chunk;  // chunks of bands, each with its own sums
  Index slab;               // bands in a slab
  Index groups, per_group;  // groups of blocks of outputs
};

template <class T>
Partition partition_of(const ConvShape& s, Index m) {
  constexpr Index target_tasks = 8, min_blocks = 2;
  Partition c{};
  c.tiles = ceil_div(s.q, m), c.rows = ceil_div(s.p, m);
  c.bands = s.n * c.rows;
  // Every chunk has at least a slab. Where that makes few tasks, groups of outputs make more; each
  // transforms x for itself, so a group should not be small.
  const Index chunks = std::clamp<Index>(c.bands * c.tiles / slab_tiles, 1, target_tasks);
  c.per_chunk = ceil_div(c.bands, chunks);
  c.chunks = ceil_div(c.bands, c.per_chunk);
  const Index slabs = ceil_div(c.per_chunk, std::max<Index>(1, slab_tiles / c.tiles));
  c.slab = ceil_div(c.per_chunk, slabs);
  const Index blocks = block_count<T>(s.out);
  c.per_group = std::min(blocks, std::max(min_blocks, ceil_div(blocks * c.chunks, target_tasks)));
  c.groups = ceil_div(blocks, c.per_group);
  return c;
}

/// Images [n, h, w, channels] whose bands begin at row -top and column -left.
template <class T>
struct Images {
  const T* data;
  Index n, h, w, channels, top, left;
};

template <class T, int m>
struct WeightGrad {
  static constexpr Index t = m + 2;

  Images<T> x, x2, dy;  // x2: of no channels where x is whole
  ConvShape s;
  Partition parts;

  Index tiles() const { return parts.slab * parts.tiles; }  // room for in a slab
  // Distances in V, whose tiles have room for the whole vectors of x and of x2, and in D. Those of
  // the elements of a square are an odd number of cache lines: t^2 writes at a power of two from
  // each other would share few sets of the cache.
  Index v_tile() const {
    return padded_channels<T>(whole_vectors<T>(x.channels) + whole_vectors<T>(x2.channels));
  }
  Index v_step() const { return padded_channels<T>(tiles() * v_tile()); }
  Index d_block() const { return tiles() * block_width<T>; }
  Index d_step() const { return padded_channels<T>(parts.per_group * d_block()); }
  // Distances in the sums [chunks][blocks][9][in][room].
  Index block_step() const { return 9 * s.in * block_width<T>; }
  Index chunk_step() const { return block_count<T>(s.out) * block_step(); }
};

/// The rows of a band, for one vector of channels: element (i, j) is at row[i] + j step[i]. Rows
/// outside the image have step 0 and point at zeros.
template <class T, int rows>
struct Band {
  const T* row[rows];
  Index step[rows];
  Index count;     // channels
  const T* ahead;  // where the m rows begin that the next band has and this one has not
  Index ahead_row, ahead_pixel;
};

template <class T>
alignas(64) constexpr T zeros[simd::lanes<T>] = {};

/// Band number `band` from channel c on.
template <class T, int m, int rows>
Band<T, rows> band_of(const Images<T>& x, const Partition& parts, Index band, Index c) {
  const auto at = [&](Index n, Index row) {
    return x.data + (n * x.h + row) * x.w * x.channels + c;
  };
  const Index n = band / parts.rows, first = band % parts.rows * m - x.top;
  Band<T, rows> b;
  b.count = std::min<Index>(simd::lanes<T>, x.channels - c);
  for (int i = 0; i < rows; ++i) {
    const bool inside = first + i >= 0 && first + i < x.h;
    b.row[i] = inside ? at(n, first + i) : zeros<T>;
    b.step[i] = inside ? x.channels : 0;
  }
  const bool last_of_image = (band + 1) % parts.rows == 0, last = band + 1 == parts.bands;
  b.ahead_row = x.w * x.channels, b.ahead_pixel = x.channels;
  b.ahead = last ? x.data : last_of_image ? at(n + 1, 0) : at(n, std::min(first + rows, x.h - 1));
  return b;
}

/// B^T of t pixels of x, or A of m pixels of dy.
template <class T, int m, class V, int from>
ITO_INLINE void transform(const V (&in)[from], V (&out)[m + 2]) {
  if constexpr (from == m) {
    Winograd<T, m>::output_adjoint(in, out);
  } else {
    Winograd<T, m>::input(in, out);
  }
}

/// Transforms the squares of a band, `from` rows high, of an image of width w: element e of tile k
/// goes to to[e step + k tile_step], a vector of channels. `half` takes the transformed columns.
template <class T, int m, int from, bool full>
void transform_band(const Band<T, from>& b, Index left, Index w, Index tiles, T* half, T* to,
                    Index tile_step, Index step) {
  using V = simd::vector_of<T>;
  constexpr int t = m + 2, lanes = simd::lanes<T>;
  const Index columns = (tiles - 1) * m + from;
  for (Index j = 0; j < columns; ++j) {
    V out[t] = {};
    const Index column = j - left;
    if (column >= 0 && column < w) {
      V in[from];
#pragma GCC unroll 6
      for (int i = 0; i < from; ++i) {
        const T* pixel = b.row[i] + column * b.step[i];
        full ? simd::load(in[i], pixel) : simd::load(in[i], pixel, b.count);
      }
      transform<T, m>(in, out);
      const T* ahead = b.ahead + column * b.ahead_pixel;
      for (int i = 0; i < m; ++i) __builtin_prefetch(ahead + i * b.ahead_row);
    }
#pragma GCC unroll 6
    for (int i = 0; i < t; ++i) simd::store(half + (j * t + i) * lanes, out[i]);
  }
  for (Index k = 0; k < tiles; ++k, half += m * t * lanes, to += tile_step) {
#pragma GCC unroll 6
    for (int i = 0; i < t; ++i) {
      V in[from], out[t];
#pragma GCC unroll 6
      for (int j = 0; j < from; ++j) simd::load(in[j], half + (j * t + i) * lanes);
      transform<T, m>(in, out);
#pragma GCC unroll 6
      for (int j = 0; j < t; ++j) simd::store(to + (i * t + j) * step, out[j]);
    }
  }
}

template <class T, int m, int from>
void transform_band(const Images<T>& x, const Partition& parts, Index band, Index c, T* half, T* to,
                    Index tile_step, Index step) {
  const auto b = band_of<T, m, from>(x, parts, band, c);
  const auto run = b.count == simd::lanes<T> ? transform_band<T, m, from, true>
                                             : transform_band<T, m, from, false>;
  run(b, x.left, x.w, parts.tiles, half, to, tile_step, step);
}

/// V and D of the slab of bands [begin, end), D for the blocks [b0, b1).
template <class T, int m>
void transform_slab(const WeightGrad<T, m>& g, Index begin, Index end, Index b0, Index b1, T* half,
                    T* v, T* d) {
  constexpr int t = m + 2, lanes = simd::lanes<T>;
  for (Index band = begin; band < end; ++band) {
    const Index first = (band - begin) * g.parts.tiles;
    T* to = v + first * g.v_tile();
    for (const Images<T>* x : {&g.x, &g.x2}) {
      for (Index c = 0; c < x->channels; c += lanes) {
        transform_band<T, m, t>(*x, g.parts, band, c, half, to + c, g.v_tile(), g.v_step());
      }
      to += x->channels;
    }
    for (Index b = b0; b < b1; ++b) {
      const Index room = block_room<T>(g.s.out, b);
      for (Index c = 0; c < block_valid<T>(g.s.out, b); c += lanes) {
        transform_band<T, m, m>(g.dy, g.parts, band, b * block_width<T> + c, half,
                                d + (b - b0) * g.d_block() + first * room + c, room, g.d_step());
      }
    }
  }
}

/// to [M][NV vectors] = the sum over tiles of v [tile][M] and d [tile][NV vectors].
template <class T>
using Product = void (*)(const T* v, Index v_tile, const T* d, Index tiles, T* to);

template <class T, int M, int NV>
void multiply(const T* v, Index v_tile, const T* d, Index tiles, T* to) {
  constexpr int lanes = simd::lanes<T>;
  simd::vector_of<T> sums[M][NV] = {};
  multiply_add_dense<T, M, NV>(sums, v, v_tile, d, tiles);
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) simd::store(to + (i * NV + j) * lanes, sums[i][j]);
  }
}

template <class T, int NV>
Product<T> product(Index size) {
  return choose<max_tile>(size, []<int M>() { return &multiply<T, M, NV>; });
}

/// taps [9][count] (+)= G^T u G, for u [t^2][count] and a `count` that is a multiple of a vector;
/// `step` is the distance of taps.
template <class T, int m>
void add_taps(const T* u, Index count, bool add, T* taps, Index step) {
  using V = simd::vector_of<T>;
  constexpr int t = m + 2;
  const auto adjoint = [](const auto& from, auto& to) __attribute__((always_inline)) {
    Winograd<T, m>::weight_adjoint(from, to);
  };
  for (Index k = 0; k < count; k += simd::lanes<T>) {
    const auto load = [&](V & value, int i, int j) __attribute__((always_inline)) {
      simd::load(value, u + (i * t + j) * count + k);
    };
    const auto store = [&](int i, int j, const V& value) __attribute__((always_inline)) {
      T* tap = taps + (i * 3 + j) * step + k;
      V sum = {};
      if (add) simd::load(sum, tap);
      simd::store(tap, sum + value);
    };
    transform_square<V, t, 3>(adjoint, load, store);
  }
}

/// What a slab of tiles adds to the sums [9][in][room] of block b of outputs; d is that of the
/// block.
template <class T, int m>
void add_slab(const WeightGrad<T, m>& g, const T* v, const T* d, Index tiles, Index b, bool add,
              T* sums) {
  constexpr Index t = m + 2;
  alignas(64) T u[t * t * max_tile * block_width<T>];
  const Index room = block_room<T>(g.s.out, b);
  for_tiles(g.s.in, [&](Index i, Index size) {
    const Product<T> run = room == block_width<T> ? product<T, 2>(size) : product<T, 1>(size);
    for (Index e = 0; e < t * t; ++e) {
      run(v + e * g.v_step() + i, g.v_tile(), d + e * g.d_step(), tiles, u + e * size * room);
    }
    add_taps<T, m>(u, size * room, add, sums + i * room, g.s.in * room);
  });
}

/// The sums [blocks][9][in][room] of chunk c, for the outputs of one group.
template <class T, int m>
void compute_task(const WeightGrad<T, m>& g, Index c, Index group, T* sums) {
  constexpr Index t = m + 2;
  const Partition& parts = g.parts;
  const Index first = c * parts.per_chunk, last = std::min(parts.bands, first + parts.per_chunk);
  const Index b0 = group * parts.per_group;
  const Index b1 = std::min(block_count<T>(g.s.out), b0 + parts.per_group);
  Scratch<T> v(t * t * g.v_step()), d(t * t * g.d_step());
  Scratch<T> half(((parts.tiles - 1) * m + t) * t * simd::lanes<T>);
  for (Index begin = first; begin < last; begin += parts.slab) {
    const Index end = std::min(last, begin + parts.slab);
    transform_slab(g, begin, end, b0, b1, half.data(), v.data(), d.data());
    for (Index b = b0; b < b1; ++b) {
      add_slab(g, v.data(), d.data() + (b - b0) * g.d_block(), (end - begin) * parts.tiles, b,
               begin != first, sums + b * g.block_step());
    }
  }
}

template <class T, int m>
void compute(const Conv2dWeightGrad::Args& args) {
  const ConvShape& s = args.shape;
  const Partition parts = partition_of<T>(s, m);
  const WeightGrad<T, m> g{
      {static_cast<const T*>(args.x), s.n, s.h, s.w, s.in - args.x2_channels, s.top, s.left},
      {static_cast<const T*>(args.x2), s.n, s.h, s.w, args.x2_channels, s.top, s.left},
      {static_cast<const T*>(args.dy), s.n, s.p, s.q, s.out, 0, 0},
      s,
      parts};
  Scratch<T> sums(parts.chunks * g.chunk_step());
  parallel_for(parts.chunks * parts.groups, 1, [&](Index begin, Index end) {
    for (Index task = begin; task < end; ++task) {
      const Index c = task / parts.groups;
      compute_task(g, c, task % parts.groups, sums.data() + c * g.chunk_step());
    }
  });
  add_chunks(s, sums.data(), parts.chunks, g.chunk_step(), static_cast<T*>(args.dweight));
}

}  // namespace

void conv2d_weight_grad_winograd(const Conv2dWeightGrad::Args& args, int m) {
  with_float(Conv2dWeightGrad::name, args.dtype,
             [&]<class T>(T) { m == 4 ? compute<T, 4>(args) : compute<T, 2>(args); });
}

}  // namespace ito::kernel
