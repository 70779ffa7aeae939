#include "tensor/kernels/reduce.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "tensor/math.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

constexpr std::int64_t max_width = 1024;      // columns of one piece of work
constexpr std::int64_t chunk_size = 1 << 16;  // elements of one piece of work, about
constexpr std::int64_t lanes = 64;            // independent results of a narrow reduction

// What distinguishes the reductions: the accumulator, its start, and one step.
struct Summing {
  template <class T>
  using Accumulator = double;
  template <class T>
  static constexpr double start = 0.0;
  static double step(double a, double x) { return a + x; }
};
struct Maximising {
  template <class T>
  using Accumulator = T;
  template <class T>
  static constexpr T start = -std::numeric_limits<T>::infinity();
  template <class T>
  static T step(T a, T x) {
    return (x > a || x != x) ? x : a;  // a NaN in `a` stays: nothing is greater
  }
};

// result[i] = step(result[i], x[r, i]) for r < rows, i < width; row r starts at x + r * stride.
template <class R, class T, class A>
void reduce_rows(const T* x, std::int64_t rows, std::int64_t stride, std::int64_t width,
                 A* result) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* row = x + r * stride;
    for (std::int64_t i = 0; i < width; ++i) result[i] = R::step(result[i], static_cast<A>(row[i]));
  }
}

// The same for one dense column: `count` independent results, combined at the end, so that the loop
// fills vector registers and does not wait for each addition.
template <class R, std::int64_t count, class T, class A>
A reduce_column(const T* x, std::int64_t rows, A result) {
  A lane[count];
  std::fill(lane, lane + count, R::template start<T>);
  std::int64_t r = 0;
  for (; r + count <= rows; r += count) {
    for (std::int64_t k = 0; k < count; ++k) lane[k] = R::step(lane[k], static_cast<A>(x[r + k]));
  }
  for (; r < rows; ++r) result = R::step(result, static_cast<A>(x[r]));
  for (std::int64_t half = count / 2; half > 0; half /= 2) {
    for (std::int64_t k = 0; k < half; ++k) lane[k] = R::step(lane[k], lane[k + half]);
  }
  return R::step(result, lane[0]);
}

// The same for a few dense columns: several rows are read as one wide row.
template <class R, class T, class A>
void reduce_narrow(const T* x, std::int64_t rows, std::int64_t width, A* result) {
  const std::int64_t together = lanes / width, wide = together * width;
  A lane[lanes];
  std::fill(lane, lane + lanes, R::template start<T>);
  const std::int64_t groups = rows / together;
  reduce_rows<R>(x, groups, wide, wide, lane);
  reduce_rows<R>(lane, together, width, width, result);
  reduce_rows<R>(x + groups * wide, rows - groups * together, width, width, result);
}

// Chooses among them for a piece of `width` columns out of `inner`.
template <class R, class T, class A>
void reduce_piece(const T* x, std::int64_t rows, std::int64_t inner, std::int64_t width,
                  A* result) {
  if (inner == 1) {
    *result = rows < 8 * lanes ? reduce_column<R, 16>(x, rows, *result)
                               : reduce_column<R, lanes>(x, rows, *result);
  } else if (inner <= lanes / 2 && rows > lanes) {
    reduce_narrow<R>(x, rows, width, result);
  } else {
    reduce_rows<R>(x, rows, inner, width, result);
  }
}

template <class R, class T>
void reduce(const ReduceArgs& a) {
  using A = typename R::template Accumulator<T>;
  if (a.outer == 0 || a.inner == 0) return;
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  // Pieces of work: columns cut into widths, the reduced axis into chunks. When there is more than
  // one chunk, partial results go to `partial` [outer, chunks, inner] and are combined in chunk
  // order.
  const std::int64_t widths = ceil_div(a.inner, max_width);
  const std::int64_t chunk = std::max<std::int64_t>(32, chunk_size / std::min(a.inner, max_width));
  const std::int64_t chunks = std::max<std::int64_t>(1, ceil_div(a.reduced, chunk));
  std::vector<A> partial(chunks > 1 ? static_cast<std::size_t>(a.outer * chunks * a.inner) : 0);
  const std::int64_t piece = std::min(a.inner, max_width) * std::min(a.reduced, chunk);
  const std::int64_t grain =
      std::max<std::int64_t>(1, chunk_size / std::max<std::int64_t>(1, piece));
  parallel_for(a.outer * chunks * widths, grain, [&](std::int64_t begin, std::int64_t end) {
    A result[max_width];
    for (std::int64_t p = begin; p < end; ++p) {
      const std::int64_t i = p % widths * max_width, oc = p / widths;
      const std::int64_t o = oc / chunks, r = oc % chunks * chunk;
      const std::int64_t width = std::min(max_width, a.inner - i);
      const std::int64_t rows = std::min(chunk, a.reduced - r);
      const T* from = x + (o * a.reduced + r) * a.inner + i;
      std::fill(result, result + width, R::template start<T>);
      reduce_piece<R>(from, rows, a.inner, width, result);
      if (chunks > 1) {
        std::copy(result, result + width, partial.data() + oc * a.inner + i);
      } else {
        for (std::int64_t k = 0; k < width; ++k) y[o * a.inner + i + k] = static_cast<T>(result[k]);
      }
    }
  });
  if (chunks == 1) return;
  parallel_for(a.outer * widths, 1, [&](std::int64_t begin, std::int64_t end) {
    A result[max_width];
    for (std::int64_t p = begin; p < end; ++p) {
      const std::int64_t i = p % widths * max_width, o = p / widths;
      const std::int64_t width = std::min(max_width, a.inner - i);
      std::fill(result, result + width, R::template start<T>);
      reduce_rows<R>(partial.data() + o * chunks * a.inner + i, chunks, a.inner, width, result);
      for (std::int64_t k = 0; k < width; ++k) y[o * a.inner + i + k] = static_cast<T>(result[k]);
    }
  });
}

}  // namespace

void Sum::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) { reduce<Summing, T>(a); });
}

void Max::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) { reduce<Maximising, T>(a); });
}

}  // namespace ito::kernel
