#include "tensor/kernels/conv_narrow.h"

#include <algorithm>

#include "tensor/kernels/gemm.h"
#include "tensor/kernels/scratch.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

// More narrow channels than this fill the vectors of the ordinary kernels well enough.
constexpr Index max_channels = 4, max_taps = 64;

/// [0, count) without what falls outside [0, size) when `offset` is added.
struct Inside {
  Index begin, end;
  Inside(Index count, Index size, Index offset)
      : begin(std::clamp<Index>(-offset, 0, count)),
        end(std::clamp<Index>(size - offset, begin, count)) {}
};

/// Address and step of column j in the packed form (gemm.h) of a [k, columns] matrix.
template <class T>
struct PackedColumn {
  T* first;
  Index step;  // from row to row
  PackedColumn(T* packed, Index k, Index columns, Index j) {
    const Index block = j / block_width<T>;
    first = packed + block * block_width<T> * k + j % block_width<T>;
    step = block_room<T>(columns, block);
  }
};

// ---- few outputs -----------------------------------------------------------------------------

/// y of pixels [q0, q1) of row p of image n: what they begin with, and the shifted sums of z over
/// the taps [rows] x [across]. z is [h, w, columns] and begins with row h0.
template <class T>
void add_shifted(const Correlation<T>& c, Index n, Index p, Index q0, Index q1, const Inside& rows,
                 const Inside& across, const T* z, Index h0, Index columns) {
  Index taps = 0, from[max_taps];
  const Index y = n * c.image_step + p * c.row_step;
  const T* first = c.addend_per_image ? c.addend + n * c.out : c.addend;
  for (Index o = 0; o < c.out; ++o) {
    taps = 0;
    for (Index r = rows.begin; r < rows.end; ++r) {
      for (Index s = across.begin; s < across.end; ++s) {
        const Index pixel = (p + r - c.top - h0) * c.w + s - c.left;
        from[taps++] = pixel * columns + (r * c.kw + s) * c.out + o;
      }
    }
    for (Index q = q0; q < q1; ++q) {
      const Index at = y + q * c.pixel_step + o;
      T sum = c.bias == nullptr ? T(0) : c.bias[o];
      if (c.addend != nullptr) sum += first[c.addend_per_image ? o : at];
      for (Index t = 0; t < taps; ++t) sum += z[from[t] + q * columns];
      c.y[at] = sum;
    }
  }
}

/// y of row p of image n: each pixel at the left and right border, where taps fall outside the
/// image, on its own.
template <class T>
void add_row(const Correlation<T>& c, Index n, Index p, const T* z, Index h0, Index columns) {
  const Inside rows(c.kh, c.h, p - c.top);
  const Index first = std::clamp<Index>(c.left, 0, c.q);
  const Index last = std::clamp<Index>(c.w - c.kw + 1 + c.left, first, c.q);
  const auto one = [&](Index q) {
    add_shifted(c, n, p, q, q + 1, rows, Inside(c.kw, c.w, q - c.left), z, h0, columns);
  };
  for (Index q = 0; q < first; ++q) one(q);
  add_shifted(c, n, p, first, last, rows, Inside(c.kw, c.kw, 0), z, h0, columns);
  for (Index q = last; q < c.q; ++q) one(q);
}

// ---- weight gradient -------------------------------------------------------------------------

/// d[j, (r, s, k)] = sum over n and (h, w) of wide[n, h, w, j]
///                   narrow[n, h + sign r + down, w + sign s + right, k]
template <class T>
struct NarrowGrad {
  const T* wide;
  Index n, h, w, channels;
  const T* narrow;
  Index narrow_h, narrow_w, narrow_channels;
  Index kh, kw, sign, down, right;
  Index columns() const { return whole_vectors<T>(kh * kw * narrow_channels); }
};

/// The columns (r, s, k) of rows [h0, h1) of one narrow image, packed as the right operand of a
/// product.
template <class T>
void gather(const NarrowGrad<T>& g, const T* narrow, Index h0, Index h1, T* packed) {
  const Index pixels = (h1 - h0) * g.w, columns = g.columns();
  std::fill_n(packed, packed_size<T>(pixels, columns), T(0));
  for (Index j = 0; j < g.kh * g.kw * g.narrow_channels; ++j) {
    const Index k = j % g.narrow_channels, s = j / g.narrow_channels % g.kw,
                r = j / g.narrow_channels / g.kw;
    const Index down = g.sign * r + g.down, right = g.sign * s + g.right;
    const Inside rows(h1, g.narrow_h, down), across(g.w, g.narrow_w, right);
    const PackedColumn<T> column(packed, pixels, columns, j);
    for (Index h = std::max(h0, rows.begin); h < rows.end; ++h) {
      const T* from = narrow + ((h + down) * g.narrow_w + right) * g.narrow_channels + k;
      T* to = column.first + (h - h0) * g.w * column.step;
      for (Index w = across.begin; w < across.end; ++w)
        to[w * column.step] = from[w * g.narrow_channels];
    }
  }
}

/// d [channels, columns]: chunks of images, each summed by one task, are added in order.
template <class T>
void narrow_grad(const NarrowGrad<T>& g, T* d) {
  constexpr Index target_chunks = 16, max_pixels = 512;
  const Index columns = g.columns(), size = g.channels * columns;
  const Index per_chunk = ceil_div(g.n, target_chunks), chunks = ceil_div(g.n, per_chunk);
  const Index rows = std::clamp<Index>(max_pixels / g.w, 1, g.h);
  Scratch<T> sums(chunks * size);
  parallel_for(chunks, 1, [&](Index begin, Index end) {
    Scratch<T> packed(packed_size<T>(rows * g.w, columns));
    for (Index chunk = begin; chunk < end; ++chunk) {
      T* sum = sums.data() + chunk * size;
      std::fill_n(sum, size, T(0));
      for (Index n = chunk * per_chunk; n < std::min(g.n, (chunk + 1) * per_chunk); ++n) {
        for (Index h = 0; h < g.h; h += rows) {
          const Index last = std::min(g.h, h + rows);
          gather(g, g.narrow + n * g.narrow_h * g.narrow_w * g.narrow_channels, h, last,
                 packed.data());
          multiply<T>({g.wide + (n * g.h + h) * g.w * g.channels, 1, g.channels}, g.channels,
                      (last - h) * g.w, packed.data(), columns, sum, columns, Onto::y);
        }
      }
    }
  });
  std::copy_n(sums.data(), size, d);
  for (Index chunk = 1; chunk < chunks; ++chunk) {
    for (Index j = 0; j < size; ++j) d[j] += sums.data()[chunk * size + j];
  }
}

}  // namespace

template <class T>
bool has_few_outputs(const Correlation<T>& c) {
  return c.out <= max_channels && c.kh * c.kw > 1 && c.kh * c.kw <= max_taps && c.stride == 1 &&
         c.x2_channels == 0 && c.in >= simd::lanes<T> && c.h * c.w > 0;
}

template <class T>
void correlate_narrow(const Correlation<T>& c) {
  constexpr Index max_bytes = 128 << 10;  // of z in one task: a part of the second-level cache
  const Index taps = c.kh * c.kw * c.out, columns = whole_vectors<T>(taps);
  Scratch<T> packed(packed_size<T>(c.in, columns));
  std::fill_n(packed.data(), packed_size<T>(c.in, columns), T(0));
  for (Index j = 0; j < taps; ++j) {
    const Index o = j % c.out, s = j / c.out % c.kw, r = j / c.out / c.kw;
    const WeightOrder& order = c.order;
    const T* from =
        c.weight + order.origin + o * order.out_step + r * order.row_step + s * order.column_step;
    const PackedColumn<T> column(packed.data(), c.in, columns, j);
    for (Index i = 0; i < c.in; ++i) column.first[i * column.step] = from[i * order.in_step];
  }
  const Index affordable = max_bytes / (c.w * columns * static_cast<Index>(sizeof(T)));
  const Index rows = std::clamp<Index>(affordable - c.kh + 1, 1, c.p), slabs = ceil_div(c.p, rows);
  parallel_for(c.n * slabs, 1, [&](Index begin, Index end) {
    Scratch<T> z((rows + c.kh - 1) * c.w * columns);
    for (Index task = begin; task < end; ++task) {
      const Index n = task / slabs, p0 = task % slabs * rows, p1 = std::min(c.p, p0 + rows);
      const Index h0 = std::clamp<Index>(p0 - c.top, 0, c.h);
      const Index h1 = std::clamp<Index>(p1 - c.top + c.kh - 1, h0, c.h);
      multiply<T>({c.x + (n * c.h + h0) * c.w * c.in, c.in, 1}, (h1 - h0) * c.w, c.in,
                  packed.data(), columns, z.data(), columns);
      for (Index p = p0; p < p1; ++p) add_row(c, n, p, z.data(), h0, columns);
    }
  });
}

template <class T>
bool has_few_channels(const ConvShape& s) {
  return std::min(s.in, s.out) <= max_channels && std::max(s.in, s.out) >= simd::lanes<T> &&
         s.kh * s.kw > 1 && s.stride == 1 && s.h * s.w > 0;
}

template <class T>
void weight_grad_narrow(const ConvShape& s, const T* x, const T* dy, T* dw) {
  const bool narrow_in = s.in <= s.out;
  const NarrowGrad<T> g = narrow_in ? NarrowGrad<T>{dy,  s.n,  s.p,  s.q,  s.out, x,      s.h,
                                                    s.w, s.in, s.kh, s.kw, 1,     -s.top, -s.left}
                                    : NarrowGrad<T>{x,   s.n,   s.h,  s.w,  s.in, dy,    s.p,
                                                    s.q, s.out, s.kh, s.kw, -1,   s.top, s.left};
  const Index taps = s.kh * s.kw, columns = g.columns();
  Scratch<T> d(g.channels * columns);
  narrow_grad(g, d.data());
  for (Index o = 0; o < s.out; ++o) {
    for (Index tap = 0; tap < taps; ++tap) {
      for (Index i = 0; i < s.in; ++i) {
        dw[(o * taps + tap) * s.in + i] = narrow_in ? d.data()[o * columns + tap * s.in + i]
                                                    : d.data()[i * columns + tap * s.out + o];
      }
    }
  }
}

template bool has_few_outputs<float>(const Correlation<float>&);
template bool has_few_outputs<double>(const Correlation<double>&);
template void correlate_narrow<float>(const Correlation<float>&);
template void correlate_narrow<double>(const Correlation<double>&);
template bool has_few_channels<float>(const ConvShape&);
template bool has_few_channels<double>(const ConvShape&);
template void weight_grad_narrow<float>(const ConvShape&, const float*, const float*, float*);
template void weight_grad_narrow<double>(const ConvShape&, const double*, const double*, double*);

}  // namespace ito::kernel
