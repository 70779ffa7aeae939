// What the tiled and the tensor-core kernels of convolution share: the problem as a matrix product
// whose left matrix is gathered from an image, and where its result goes.
//
//   y[m, o] = sum over k of A[m, k] weight[o, k]        m = (n, p, q), k = (r, s, i)
//   A[m, k] = x[n, p stride + r - top, q stride + s - left, i], zero outside the image
//
// A is never written: each thread that loads a piece of it knows its row m as a `Pixel` and its
// column k as a `Tap`, and the address is a sum of the two. The forward pass is one such product,
// the input gradient at stride s is s x s of them (conv_pack.h).
#pragma once

#include "cuda/element.h"
#include "cuda/fast_divmod.h"
#include "cuda/launch.h"

namespace ito::cuda::conv {

/// Images [n, h, w, channels]: one of the two sources that a convolution reads side by side.
struct Source {
  const void* data = nullptr;
  int channels = 0;
};

struct Correlation {
  Source x[2];  ///< channels 0 .. x[0].channels - 1 come from x[0], the rest from x[1]
  int h = 0, w = 0, in = 0;
  int slab = 1;  ///< channels that are summed over all taps before the next ones: see Tap
  int kh = 0, kw = 0, stride = 1, top = 0, left = 0;
  const void* weight = nullptr;  ///< [out, kh, kw, in]

  int images = 0, pixels = 0, p = 0, q = 0, out = 0;  ///< pixels = images p q
  FastDivmod32 per_image, per_row;                    ///< p q and q

  void* y = nullptr;  ///< pixel (n, p, q) begins at n image_step + p row_step + q pixel_step
  std::int64_t image_step = 0, row_step = 0, pixel_step = 0;
  const void* bias = nullptr;    ///< [out] or null
  const void* addend = nullptr;  ///< laid out as y, or [n, out], or null
  bool addend_per_image = false;
  float* partial = nullptr;  ///< [splits, pixels, out]: where sums go when k is split; else null

  __host__ __device__ int depth() const { return kh * kw * in; }  ///< extent of k
};

/// Row m of A: the pixel that tap (0, 0) reads, and which taps lie inside the image: bit r for
/// row r, bit 16 + s for column s. Kernels have at most 15 rows and columns.
struct Pixel {
  int index = 0;
  unsigned inside = 0;
};

/// Bits i of 0 .. n-1 with low <= i < high.
__device__ inline unsigned bits_between(int low, int high, int n) {
  low = low < 0 ? 0 : low > n ? n : low;
  high = high < 0 ? 0 : high > n ? n : high;
  return ((1u << high) - 1u) & ~((1u << low) - 1u);
}

__device__ inline Pixel pixel_of(const Correlation& c, int m) {
  if (m >= c.pixels) return {};
  const int n = static_cast<int>(c.per_image.quotient(static_cast<unsigned>(m)));
  const int rest = m - n * c.p * c.q;
  const int p = static_cast<int>(c.per_row.quotient(static_cast<unsigned>(rest)));
  const int h = p * c.stride - c.top, w = (rest - p * c.q) * c.stride - c.left;
  return {(n * c.h + h) * c.w + w, bits_between(-h, c.h - h, c.kh) | bits_between(-w, c.w - w, c.kw)
                                                                         << 16};
}

/// Step k of the sum: which tap, which channel. Channels are taken a slab at a time and within a
/// slab tap after tap, so that the pixels of a tile, which every tap reads again, stay in the
/// first-level cache. Moves forward without a division.
struct Tap {
  int slab, length;   ///< the first channel of the slab and the number of its channels
  int channel, r, s;  ///< channel counts from `slab`

  __device__ Tap(const Correlation& c, int k) {
    const int taps = c.kh * c.kw, slabs = taps == 0 ? c.in : k / (taps * c.slab);
    begin(c, slabs * c.slab);
    channel = k - taps * slab;
    const int tap = channel / length;
    channel -= tap * length, r = tap / c.kw, s = tap - r * c.kw;
    if (tap >= taps) begin(c, c.in);  // behind a last slab that is not full
  }
  __device__ void begin(const Correlation& c, int first) {
    slab = first, r = s = 0;
    length = slab < c.in ? min(c.slab, c.in - slab) : 1 << 30;  // no end beyond the last slab
  }
  __device__ void advance(const Correlation& c, int by) {
    channel += by;
    while (channel >= length) {
      channel -= length;
      if (++s < c.kw) continue;
      s = 0;
      if (++r == c.kh) begin(c, slab + c.slab);
    }
  }
  /// False beyond the last step.
  __device__ bool valid(const Correlation& c) const { return slab < c.in; }
  /// The place in a row of weights.
  __device__ int in_weight(const Correlation& c) const {
    return (r * c.kw + s) * c.in + slab + channel;
  }
};

/// One step of the sum for any row: where its elements are, first + (pixel + offset) * step, and
/// which rows it is inside for. Made so that a row costs an addition, a multiply-add of 32 by 32
/// bits, and a comparison.
template <class T>
struct Column {
  const char* first;
  int step, offset;  ///< step in bytes
  unsigned need;     ///< the bits that Pixel::inside must have; all, which none has, at the end
  bool valid;        ///< false beyond the last step

  __device__ Column(const Correlation& c, const Tap& tap) : Column(c, tap, tap.r * c.w + tap.s) {}
  /// For pixels that have the tap's place in them already: offset 0.
  __device__ Column(const Correlation& c, const Tap& tap, int offset_)
      : offset(offset_), valid(tap.valid(c)) {
    const int channel = tap.slab + tap.channel;
    const bool second = channel >= c.x[0].channels;
    const Source& x = c.x[second ? 1 : 0];
    constexpr int size = static_cast<int>(sizeof(T));
    first =
        static_cast<const char*>(x.data) + (second ? channel - c.x[0].channels : channel) * size;
    step = x.channels * size;
    need = valid ? 1u << tap.r | 1u << (16 + tap.s) : ~0u;
  }
  __device__ bool inside(const Pixel& pixel) const { return (pixel.inside & need) == need; }
  __device__ const T* at(int pixel) const {
    return reinterpret_cast<const T*>(first + static_cast<std::int64_t>(pixel + offset) * step);
  }
};

/// Adds bias and addend to y[m, o .. o + N - 1], rounds and stores. `vectors`: N divides `out` and
/// everything is aligned for Vec<T, N> (see can_use_vectors).
template <class T, int N>
__device__ void store_result(const Correlation& c, int m, int o, float (&sum)[N], bool vectors) {
  const int n = static_cast<int>(c.per_image.quotient(static_cast<unsigned>(m)));
  const int rest = m - n * c.p * c.q;
  const int p = static_cast<int>(c.per_row.quotient(static_cast<unsigned>(rest)));
  const std::int64_t at = n * c.image_step + p * c.row_step + (rest - p * c.q) * c.pixel_step + o;
  const std::int64_t addend_at = c.addend_per_image ? std::int64_t{n} * c.out + o : at;
  const T* bias = static_cast<const T*>(c.bias);
  const T* addend = static_cast<const T*>(c.addend);
  T* y = static_cast<T*>(c.y) + at;
  if (vectors) {
    using V = Vec<T, N>;
    V result;
    if (bias != nullptr) {
      const V b = *reinterpret_cast<const V*>(bias + o);
#pragma unroll
      for (int i = 0; i < N; ++i) sum[i] += to_float(b[i]);
    }
    if (addend != nullptr) {
      const V a = *reinterpret_cast<const V*>(addend + addend_at);
#pragma unroll
      for (int i = 0; i < N; ++i) sum[i] += to_float(a[i]);
    }
#pragma unroll
    for (int i = 0; i < N; ++i) result[i] = from_float<T>(sum[i]);
    *reinterpret_cast<V*>(y) = result;
    return;
  }
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (o + i >= c.out) break;
    if (bias != nullptr) sum[i] += to_float(bias[o + i]);
    if (addend != nullptr) sum[i] += to_float(addend[addend_at + i]);
    y[i] = from_float<T>(sum[i]);
  }
}

/// A row of sums of one split, to be added by add_splits: partial[split, m, o .. o + N - 1].
template <int N>
__device__ void store_partial(float* partial, std::int64_t rows, int columns, int split, int m,
                              int o, const float (&sum)[N]) {
  float* to = partial + (split * rows + m) * columns + o;
  if (columns % 4 == 0) {
#pragma unroll
    for (int i = 0; i < N; i += 4) {
      if (o + i >= columns) break;
      Vec<float, 4> v;
#pragma unroll
      for (int j = 0; j < 4; ++j) v[j] = sum[i + j];
      *reinterpret_cast<Vec<float, 4>*>(to + i) = v;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (o + i < columns) to[i] = sum[i];
  }
}

}  // namespace ito::cuda::conv
