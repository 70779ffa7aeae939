// 2x nearest upsampling and a 3x3 convolution, in 9 products per 4 pixels: the plain convolution
// has 36, the folded one of conv_upsample.cpp 16.
//
// Along one axis the upsampled image shows every pixel twice, so with W = w0 + w1 + w2
//
//   y[2 i]     = w0 x[i - 1] + (w1 + w2) x[i]  =  w0 (x[i - 1] - x[i]) + W x[i]
//   y[2 i + 1] = (w0 + w1) x[i] + w2 x[i + 1]  =  W x[i] + w2 (x[i + 1] - x[i])
//
// and W x[i] serves both: 3 products where folding has 4 and the definition 6. This is the idea of
// Winograd's F(2, 2) (see winograd.h) with transforms that only add and subtract. It is applied to
// rows and to columns, and gives for a, b of 0, 1, 2
//
//   v[a, b] = the differences (or, for 1, the values) of x along both axes        "input"
//   u[a, b] = sums of the weights over taps {0}, {0, 1, 2}, {2} along both axes
//   m[a, b] = u[a, b] v[a, b], summed over channels
//   y[2 i + e, 2 j + d] = m[e, d] + m[e, d + 1] + m[e + 1, d] + m[e + 1, d + 1]
//
// The products are those of gemm.h. A task transforms a block of pixels straight from the image
// into scratch memory of about half the second-level cache; the cost of the transforms is about
// 60 / out of the products, that is 6 % for 64 channels.
//
// Both gradients are plain products too, because the differences may as well be taken of dy:
//
//   f[a, b] = of dy, along an axis  dy[2 i + 2] - dy[2 i],  dy[2 i] + dy[2 i + 1],
//             dy[2 i - 1] - dy[2 i + 1]  for 0, 1, 2
//   dx = sum over (a, b) and o of f[a, b, o] u[a, b, o]
//   du[a, b] = sum over pixels of f[a, b] x,  dw[r, s] = sum of the du whose u contains tap (r, s)
#include <algorithm>

#include "tensor/kernels/conv_upsample.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/packed_weights.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

constexpr Index products = 9;  // (a, b)

/// Whether u[a] contains tap r, along one axis.
constexpr bool contains(Index a, Index r) { return a == 1 || a == r; }

/// How `pixels` are cut into blocks, whose transform of `width` numbers per pixel fits the cache,
/// and each block into groups of the `blocks` of output channels. A function of the sizes only.
struct Partition {
  Index pixels, tasks_of_pixels, blocks, groups;
  Index tasks() const { return tasks_of_pixels * groups; }

  template <class T>
  static Partition of(T, Index pixels, Index width, Index blocks) {
    constexpr Index cache = 384 << 10, min_pixels = 2 * max_tile, max_pixels = 8 * max_tile,
                    target_tasks = 16;
    Partition c{};
    const Index room = cache / (std::max<Index>(1, width) * static_cast<Index>(sizeof(T)));
    c.pixels = std::clamp<Index>(room / max_tile * max_tile, min_pixels, max_pixels);
    c.tasks_of_pixels = ceil_div(pixels, c.pixels);
    c.groups = std::min(blocks, ceil_div(target_tasks, c.tasks_of_pixels));
    c.blocks = ceil_div(blocks, c.groups);
    c.groups = ceil_div(blocks, c.blocks);
    return c;
  }
};

/// A row of zeros to read outside of an image, and the image's pixels.
template <class T>
struct Border {
  const T* image;  // [h, w, c]
  Index h, w, c;
  const T* zeros;
  const T* at(Index row, Index column) const {
    const bool inside = row >= 0 && row < h && column >= 0 && column < w;
    return inside ? image + (row * w + column) * c : zeros;
  }
};

/// v[a][b][c] of pixel (i, j), `step` apart, from the 3 x 3 pixels around it.
template <class T>
void transform_input(const Border<T>& x, Index i, Index j, T* v, Index step) {
  using V = simd::vector_of<T>;
  const T* from[3][3];
  for (Index r = 0; r < 3; ++r) {
    for (Index s = 0; s < 3; ++s) from[r][s] = x.at(i + r - 1, j + s - 1);
  }
  for (Index c = 0; c < x.c; c += simd::lanes<T>) {
    V rows[3][3];  // [a][column]
    for (int s = 0; s < 3; ++s) {
      V above, here, below;
      simd::load(above, from[0][s] + c, x.c - c);
      simd::load(here, from[1][s] + c, x.c - c);
      simd::load(below, from[2][s] + c, x.c - c);
      rows[0][s] = above - here, rows[1][s] = here, rows[2][s] = below - here;
    }
    for (int a = 0; a < 3; ++a) {
      T* to = v + 3 * a * step + c;
      simd::store(to, V(rows[a][0] - rows[a][1]), x.c - c);
      simd::store(to + step, rows[a][1], x.c - c);
      simd::store(to + 2 * step, V(rows[a][2] - rows[a][1]), x.c - c);
    }
  }
}

/// f[a][b][c] of pixel (i, j) for channels [first, first + count) of dy, from the 4 x 4 pixels of
/// dy that see it.
template <class T>
void transform_gradient(const Border<T>& dy, Index i, Index j, Index first, Index count, T* f) {
  using V = simd::vector_of<T>;
  const T* from[4][4];
  for (Index r = 0; r < 4; ++r) {
    for (Index s = 0; s < 4; ++s) from[r][s] = dy.at(2 * i + r - 1, 2 * j + s - 1) + first;
  }
  for (Index c = 0; c < count; c += simd::lanes<T>) {
    V rows[3][4];  // [a][column]
    for (int s = 0; s < 4; ++s) {
      V d[4];
      for (int r = 0; r < 4; ++r) simd::load(d[r], from[r][s] + c, count - c);
      rows[0][s] = d[3] - d[1], rows[1][s] = d[1] + d[2], rows[2][s] = d[0] - d[2];
    }
    for (int a = 0; a < 3; ++a) {
      T* to = f + 3 * a * count + c;
      simd::store(to, V(rows[a][3] - rows[a][1]), count - c);
      simd::store(to + count, V(rows[a][1] + rows[a][2]), count - c);
      simd::store(to + 2 * count, V(rows[a][0] - rows[a][2]), count - c);
    }
  }
}

/// u [products, out, in]
template <class T>
void transform_weight(const T* w, Index out, Index in, T* u) {
  parallel_for(out, 8, [&](Index begin, Index end) {
    for (Index o = begin; o < end; ++o) {
      for (Index ab = 0; ab < products; ++ab) {
        T* to = u + (ab * out + o) * in;
        std::fill_n(to, in, T(0));
        for (Index tap = 0; tap < 9; ++tap) {
          if (!contains(ab / 3, tap / 3) || !contains(ab % 3, tap % 3)) continue;
          const T* from = w + (o * 9 + tap) * in;
          for (Index i = 0; i < in; ++i) to[i] += from[i];
        }
      }
    }
  });
}

/// Calls f(pixel, n, i, j) for pixels [first, last) of images [h, w].
template <class F>
void for_pixels(const UpsampleShape& s, Index first, Index last, F f) {
  for (Index pixel = first; pixel < last; ++pixel) {
    f(pixel, pixel / (s.h * s.w), pixel / s.w % s.h, pixel % s.w);
  }
}

/// The four pixels of y that belong to pixel (i, j) of x, for one block of channels, from
/// m [products, ..., block_width] with products `step` apart.
template <class T>
void transform_output(const UpsampleShape& s, const T* m, Index step, const T* bias, Index valid,
                      T* y) {
  using V = simd::vector_of<T>;
  for (Index c = 0; c < valid; c += simd::lanes<T>) {
    V rows[2][3], start{};
    if (bias != nullptr) simd::load(start, bias + c, valid - c);
    for (int b = 0; b < 3; ++b) {
      V value[3];
      for (int a = 0; a < 3; ++a) simd::load(value[a], m + (3 * a + b) * step + c);
      rows[0][b] = value[0] + value[1], rows[1][b] = value[1] + value[2];
    }
    for (int e = 0; e < 2; ++e) {
      T* to = y + e * 2 * s.w * s.out + c;
      const V middle = rows[e][1] + start;
      simd::store(to, V(rows[e][0] + middle), valid - c);
      simd::store(to + s.out, V(middle + rows[e][2]), valid - c);
    }
  }
}

template <class T>
void forward(const UpsampleShape& s, const T* x, const T* weight, const T* bias, T* y,
             PackedWeights* cache) {
  const Index blocks = block_count<T>(s.out), pixels = s.n * s.h * s.w;
  if (pixels * s.out == 0) return;
  Scratch<T> zeros(s.in);
  std::fill_n(zeros.data(), s.in, T(0));
  const PackedWeight<T> packed(
      cache, {PackedWeights::upsample2x}, products * packed_size<T>(s.in, s.out), [&](T* to) {
        Scratch<T> u(products * s.out * s.in);
        transform_weight(weight, s.out, s.in, u.data());
        parallel_for(blocks, 1, [&](Index begin, Index end) {
          for (Index b = begin; b < end; ++b) {
            for (Index ab = 0; ab < products; ++ab) {
              pack_block<T>({u.data() + ab * s.out * s.in, 1, s.in}, s.in, s.out, b,
                            to + ab * packed_size<T>(s.in, s.out));
            }
          }
        });
      });
  const Partition parts = Partition::of(T(), pixels, products * s.in, blocks);
  parallel_for(parts.tasks(), 1, [&](Index begin, Index end) {
    Scratch<T> v(products * parts.pixels * s.in), m(products * max_tile * block_width<T>);
    for (Index task = begin; task < end; ++task) {
      const Index first = task / parts.groups * parts.pixels;
      const Index last = std::min(pixels, first + parts.pixels);
      for_pixels(s, first, last, [&](Index pixel, Index n, Index i, Index j) {
        transform_input(Border<T>{x + n * s.h * s.w * s.in, s.h, s.w, s.in, zeros.data()}, i, j,
                        v.data() + (pixel - first) * s.in, parts.pixels * s.in);
      });
      const Index b0 = task % parts.groups * parts.blocks;
      for (Index b = b0; b < std::min(blocks, b0 + parts.blocks); ++b) {
        const Index column = b * block_width<T>;
        for_tiles(last - first, [&](Index at, Index rows) {
          for (Index ab = 0; ab < products; ++ab) {
            multiply<T>({v.data() + (ab * parts.pixels + at) * s.in, s.in, 1}, rows, s.in,
                        packed.data() + ab * packed_size<T>(s.in, s.out) + column * s.in,
                        block_room<T>(s.out, b), m.data() + ab * max_tile * block_width<T>,
                        block_width<T>);
          }
          for_pixels(s, first + at, first + at + rows, [&](Index pixel, Index n, Index i, Index j) {
            const T* sums = m.data() + (pixel - first - at) * block_width<T>;
            T* to = y + (((n * s.h + i) * 2 * s.w + j) * 2) * s.out + column;
            transform_output(s, sums, max_tile * block_width<T>,
                             bias == nullptr ? nullptr : bias + column, block_valid<T>(s.out, b),
                             to);
          });
        });
      }
    }
  });
}

template <class T>
void input_grad(const UpsampleShape& s, const T* dy, const T* weight, T* dx) {
  const Index blocks = block_count<T>(s.in), pixels = s.n * s.h * s.w, depth = products * s.out;
  if (pixels * s.in == 0) return;
  Scratch<T> u(depth * s.in), packed(packed_size<T>(depth, s.in)), zeros(s.out);
  std::fill_n(zeros.data(), s.out, T(0));
  transform_weight(weight, s.out, s.in, u.data());
  parallel_for(blocks, 1, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) {
      pack_block<T>({u.data(), s.in, 1}, depth, s.in, b, packed.data());
    }
  });
  const Partition parts = Partition::of(T(), pixels, depth, blocks);
  parallel_for(parts.tasks(), 1, [&](Index begin, Index end) {
    Scratch<T> f(parts.pixels * depth);
    for (Index task = begin; task < end; ++task) {
      const Index first = task / parts.groups * parts.pixels;
      const Index last = std::min(pixels, first + parts.pixels);
      for_pixels(s, first, last, [&](Index pixel, Index n, Index i, Index j) {
        transform_gradient(
            Border<T>{dy + n * 4 * s.h * s.w * s.out, 2 * s.h, 2 * s.w, s.out, zeros.data()}, i, j,
            0, s.out, f.data() + (pixel - first) * depth);
      });
      const Index b = task % parts.groups * parts.blocks;
      multiply<T>({f.data(), depth, 1}, last - first, depth, packed.data(), s.in, b,
                  std::min(blocks, b + parts.blocks), dx + first * s.in, s.in, Onto::zero, nullptr);
    }
  });
}

/// How the gradient to the weight is cut: a task sums `per_chunk` pixels for `outputs` channels, as
/// many as leave room for their sums in the second-level cache.
struct WeightPartition {
  Index outputs, groups, per_chunk, chunks;

  template <class T>
  static WeightPartition of(T, const UpsampleShape& s) {
    constexpr Index cache = 256 << 10, min_outputs = 16, target_tasks = 16, min_pixels = 256;
    const Index pixels = s.n * s.h * s.w;
    const Index room = cache / (products * s.in * static_cast<Index>(sizeof(T)));
    WeightPartition c{};
    c.outputs = std::min(s.out, std::max(min_outputs, room / min_outputs * min_outputs));
    c.groups = ceil_div(s.out, c.outputs);
    c.chunks = std::clamp<Index>(ceil_div(pixels, min_pixels), 1, ceil_div(target_tasks, c.groups));
    c.per_chunk = ceil_div(pixels, c.chunks);
    if (pixels > 0) c.chunks = ceil_div(pixels, c.per_chunk);
    return c;
  }
};

/// Adds the products of pixels [first, last) and output channels [o, o + count) to
/// du [products, count, in].
template <class T>
void add_products(const UpsampleShape& s, const T* x, const T* dy, const T* zeros, Index first,
                  Index last, Index o, Index count, T* f, T* packed, T* du) {
  for_pixels(s, first, last, [&](Index pixel, Index n, Index i, Index j) {
    transform_gradient(Border<T>{dy + n * 4 * s.h * s.w * s.out, 2 * s.h, 2 * s.w, s.out, zeros}, i,
                       j, o, count, f + (pixel - first) * products * count);
  });
  pack_matrix<T>({x + first * s.in, s.in, 1}, last - first, s.in, packed);
  multiply<T>({f, 1, products * count}, products * count, last - first, packed, s.in, du, s.in,
              Onto::y);
}

template <class T>
void weight_grad(const UpsampleShape& s, const T* x, const T* dy, T* dw) {
  constexpr Index together = 96;  // pixels whose operands fit the second-level cache too
  if (s.in * s.out == 0) return;
  const WeightPartition parts = WeightPartition::of(T(), s);
  const Index pixels = s.n * s.h * s.w, size = products * s.in;  // of du, for one output channel
  Scratch<T> sums(parts.chunks * s.out * size), zeros(s.out);
  std::fill_n(zeros.data(), s.out, T(0));
  parallel_for(parts.chunks * parts.groups, 1, [&](Index begin, Index end) {
    Scratch<T> f(together * products * parts.outputs), packed(packed_size<T>(together, s.in));
    for (Index task = begin; task < end; ++task) {
      const Index chunk = task / parts.groups, o = task % parts.groups * parts.outputs;
      const Index count = std::min(parts.outputs, s.out - o);
      T* du = sums.data() + (chunk * s.out + o) * size;
      std::fill_n(du, count * size, T(0));
      const Index end_of_chunk = std::min(pixels, (chunk + 1) * parts.per_chunk);
      for (Index p = chunk * parts.per_chunk; p < end_of_chunk; p += together) {
        add_products(s, x, dy, zeros.data(), p, std::min(end_of_chunk, p + together), o, count,
                     f.data(), packed.data(), du);
      }
    }
  });
  parallel_for(s.out, 8, [&](Index begin, Index end) {
    for (Index o = begin; o < end; ++o) {
      const Index first = o / parts.outputs * parts.outputs;
      const Index count = std::min(parts.outputs, s.out - first);
      T* to = dw + o * 9 * s.in;
      std::fill_n(to, 9 * s.in, T(0));
      for (Index chunk = 0; chunk < parts.chunks; ++chunk) {
        const T* du = sums.data() + (chunk * s.out + first) * size + (o - first) * s.in;
        for (Index ab = 0; ab < products; ++ab) {
          for (Index tap = 0; tap < 9; ++tap) {
            if (!contains(ab / 3, tap / 3) || !contains(ab % 3, tap % 3)) continue;
            for (Index i = 0; i < s.in; ++i) to[tap * s.in + i] += du[ab * count * s.in + i];
          }
        }
      }
    }
  });
}

}  // namespace

void UpsampleConv2d::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    forward(a.shape, static_cast<const T*>(a.x), static_cast<const T*>(a.weight),
            static_cast<const T*>(a.bias), static_cast<T*>(a.y), a.packed);
  });
}

void UpsampleConv2dInputGrad::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    input_grad(a.shape, static_cast<const T*>(a.dy), static_cast<const T*>(a.weight),
               static_cast<T*>(a.dx));
  });
}

void UpsampleConv2dWeightGrad::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    weight_grad(a.shape, static_cast<const T*>(a.x), static_cast<const T*>(a.dy),
                static_cast<T*>(a.dweight));
  });
}

}  // namespace ito::kernel
