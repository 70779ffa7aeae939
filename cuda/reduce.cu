// Sums and maxima of the middle of [outer, reduced, inner], in f32 and in an order that depends on
// the sizes only.
//
// Bound by memory: x is read once, and one addition per element is nothing beside it. Four shapes
// of work:
//   rows       inner = 1, short rows: 1 to 32 neighbouring lanes share a row, so that a warp always
//              reads neighbours; their values meet in shuffles
//   long rows  inner = 1: a block per row, or per piece of one
//   columns    many results: a thread per vector of neighbouring results walks down its column
//   tall       few results, many rows (the gradient of a bias): a block takes a strip of columns
//              and a piece of the rows; its rows of threads meet in shared memory
// Where results are too few to fill a device, long rows and tall columns are cut into pieces whose
// results go to scratch in f32, and a second launch combines those in order: two launches instead
// of atomics, whose order, and so whose last bits, would change from run to run. The pieces add at
// most 2 % to the bytes moved.
#include <algorithm>
#include <bit>
#include <limits>

#include "cuda/index.h"
#include "cuda/reduce.h"
#include "tensor/kernels/reduce.h"
#include "tensor/math.h"

namespace ito::kernel {
namespace {

using namespace cuda;

constexpr int threads = 256;
constexpr std::int64_t enough_blocks = 1024;  // to fill any device several times over

struct Summing : Plus {
  static constexpr float start = 0.0f;
};
struct Maximising : Larger {
  static constexpr float start = -std::numeric_limits<float>::infinity();
};

// Row r of y = R over the n elements of row r of x; `lanes` (a power of two) threads per row.
template <class R, int V, class T, class U>
__global__ void reduce_rows(const T* x, U* y, std::int64_t rows, std::int64_t n, int lanes) {
  const std::int64_t thread = std::int64_t{blockIdx.x} * threads + threadIdx.x;
  const std::int64_t row = thread / lanes;
  const auto lane = static_cast<int>(threadIdx.x) & (lanes - 1);
  float value = R::start;
  if (row < rows) {
    for (std::int64_t i = lane * V; i < n; i += lanes * V) {
      const Vec<T, V> v = load<V>(x + row * n + i);
      for (int k = 0; k < V; ++k) value = R{}(value, to_float(v[k]));
    }
  }
  for (int offset = lanes / 2; offset > 0; offset /= 2) {
    value = R{}(value, __shfl_xor_sync(full_warp, value, offset));
  }
  if (row < rows && lane == 0) y[row] = from_float<U>(value);
}

// y[row, piece] = R over elements [piece * length, ...) of the row: one block each.
template <class R, int V, class T, class U>
__global__ void reduce_pieces(const T* x, U* y, std::int64_t n, std::int64_t length,
                              FastDivmod pieces) {
  ITO_SHARED(float, scratch, [threads / 32]);
  const std::int64_t row = pieces.quotient(blockIdx.x);
  const std::int64_t begin = (blockIdx.x - row * pieces.divisor) * length;
  const std::int64_t count = std::min(length, n - begin), whole = count / V * V;
  const T* from = x + row * n + begin;
  float value = R::start;
  for (std::int64_t i = threadIdx.x * V; i < whole; i += threads * V) {
    const Vec<T, V> v = load<V>(from + i);
    for (int k = 0; k < V; ++k) value = R{}(value, to_float(v[k]));
  }
  for (std::int64_t i = whole + threadIdx.x; i < count; i += threads) {
    value = R{}(value, to_float(from[i]));
  }
  value = block_reduce(value, scratch, R{});
  if (threadIdx.x == 0) y[blockIdx.x] = from_float<U>(value);
}

// A thread per vector of V results: [outer, reduced, inner V] to [outer, inner V].
template <class R, int V, class T, class U>
__global__ void reduce_columns(const T* x, U* y, std::int64_t outer, std::int64_t reduced,
                               FastDivmod inner) {
  for (std::int64_t i : grid_stride(outer * inner.divisor)) {
    const std::int64_t o = inner.quotient(i), column = i - o * inner.divisor;
    const T* from = x + (o * reduced * inner.divisor + column) * V;
    float value[V];
    for (int k = 0; k < V; ++k) value[k] = R::start;
    for (std::int64_t r = 0; r < reduced; ++r) {
      const Vec<T, V> v = load<V>(from + r * inner.divisor * V);
      for (int k = 0; k < V; ++k) value[k] = R{}(value[k], to_float(v[k]));
    }
    Vec<U, V> result;
    for (int k = 0; k < V; ++k) result[k] = from_float<U>(value[k]);
    store(y + i * V, result);
  }
}

// Strips of `width` vectors (a power of two) of the columns, pieces of `length` of the rows:
// [outer, reduced, inner V] to [outer, pieces, inner V]. One block per (outer, piece, strip).
struct Strips {
  std::int64_t reduced, inner, length;
  FastDivmod pieces, strips;
  int width;
};
template <class R, int V, class T, class U>
__global__ void reduce_tall(const T* x, U* y, Strips s) {
  ITO_SHARED(float, part, [V][threads]);
  const std::int64_t op = s.strips.quotient(blockIdx.x), o = s.pieces.quotient(op);
  const std::int64_t piece = op - o * s.pieces.divisor;
  const auto me = static_cast<int>(threadIdx.x);
  const int high = threads / s.width, ty = me / s.width;
  const std::int64_t column = (blockIdx.x - op * s.strips.divisor) * s.width + (me & (s.width - 1));
  float value[V];
  for (int k = 0; k < V; ++k) value[k] = R::start;
  if (column < s.inner) {
    const std::int64_t end = std::min(s.reduced, (piece + 1) * s.length);
    for (std::int64_t r = piece * s.length + ty; r < end; r += high) {
      const Vec<T, V> v = load<V>(x + ((o * s.reduced + r) * s.inner + column) * V);
      for (int k = 0; k < V; ++k) value[k] = R{}(value[k], to_float(v[k]));
    }
  }
  for (int k = 0; k < V; ++k) part[k][me] = value[k];
  for (int half = high / 2; half > 0; half /= 2) {
    __syncthreads();
    if (ty >= half) continue;
    for (int k = 0; k < V; ++k) {
      value[k] = R{}(value[k], part[k][me + half * s.width]);
      part[k][me] = value[k];
    }
  }
  if (ty > 0 || column >= s.inner) return;
  Vec<U, V> result;
  for (int k = 0; k < V; ++k) result[k] = from_float<U>(value[k]);
  store(y + (op * s.inner + column) * V, result);
}

// Pieces of `reduced` so that `blocks` of them fill a device, but of at least `min_length` each.
std::int64_t pieces_of(std::int64_t reduced, std::int64_t blocks, std::int64_t min_length) {
  const std::int64_t target = ceil_div(enough_blocks, blocks);
  return std::max<std::int64_t>(1, std::min(target, reduced / min_length));
}

template <class R, int V, class T, class U>
void rows(const T* x, U* y, std::int64_t outer, std::int64_t n) {
  const std::int64_t vectors = ceil_div(n, V);
  if (vectors <= 256 && outer > 1) {
    const int lanes = static_cast<int>(
        std::bit_ceil(static_cast<std::uint64_t>(std::clamp<std::int64_t>(vectors, 1, 32))));
    cuda::launch(reduce_rows<R, V, T, U>, blocks_for(outer * lanes, threads, 1LL << 31), threads, 0,
                 x, y, outer, n, lanes);
    return;
  }
  const std::int64_t pieces = pieces_of(n, outer, threads * 4 * V);
  const std::int64_t length = round_up(ceil_div(n, pieces), V);
  const auto blocks = static_cast<unsigned>(outer * pieces);
  if (pieces == 1) {
    cuda::launch(reduce_pieces<R, V, T, U>, blocks, threads, 0, x, y, n, length, FastDivmod(1));
    return;
  }
  Scratch<float> partial(outer * pieces);
  cuda::launch(reduce_pieces<R, V, T, float>, blocks, threads, 0, x, partial.data(), n, length,
               FastDivmod(pieces));
  rows<R, 1, float, U>(partial.data(), y, outer, pieces);
}

template <class R, int V, class T, class U>
void tall(const T* x, U* y, std::int64_t outer, std::int64_t reduced, std::int64_t inner,
          bool in_pieces) {
  Strips s{reduced, inner, reduced, FastDivmod(1), {}, 0};
  s.width = static_cast<int>(
      std::bit_ceil(static_cast<std::uint64_t>(std::min<std::int64_t>(inner, 32))));
  // The second launch has no pieces: narrow strips, down to the 32 bytes of a sector.
  while (!in_pieces && s.width * V > 8 && outer * ceil_div(inner, s.width) < 128) {
    s.width /= 2;
  }
  s.strips = FastDivmod(ceil_div(inner, s.width));
  const std::int64_t blocks = outer * s.strips.divisor;
  const std::int64_t pieces = in_pieces ? pieces_of(reduced, blocks, 4 * threads / s.width) : 1;
  if (pieces == 1) {
    cuda::launch(reduce_tall<R, V, T, U>, static_cast<unsigned>(blocks), threads, 0, x, y, s);
    return;
  }
  s.pieces = FastDivmod(pieces);
  s.length = ceil_div(reduced, pieces);
  Scratch<float> partial(outer * pieces * inner * V);
  cuda::launch(reduce_tall<R, V, T, float>, static_cast<unsigned>(blocks * pieces), threads, 0, x,
               partial.data(), s);
  // The width in vectors changes with the type: four f32 or one.
  if constexpr (V > 1) {
    tall<R, 4, float, U>(partial.data(), y, outer, pieces, inner * V / 4, false);
  } else {
    tall<R, 1, float, U>(partial.data(), y, outer, pieces, inner, false);
  }
}

template <class R, int V, class T>
void columns(const T* x, T* y, std::int64_t outer, std::int64_t reduced, std::int64_t inner) {
  if (reduced > 8 && outer * inner < 128 * threads) {
    tall<R, V, T, T>(x, y, outer, reduced, inner, true);
    return;
  }
  cuda::launch(reduce_columns<R, V, T, T>, blocks_for(outer * inner, threads), threads, 0, x, y,
               outer, reduced, FastDivmod(inner));
}

template <class R>
void reduce(const char* name, const ReduceArgs& a) {
  if (a.outer == 0 || a.inner == 0) return;
  with_element(name, a.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(a.x);
    T* y = static_cast<T*>(a.y);
    constexpr int V = in_16_bytes<T>;
    if (a.inner == 1) {
      if (all_aligned(x) && (a.outer == 1 || a.reduced % V == 0)) {
        rows<R, V, T, T>(x, y, a.outer, a.reduced);
      } else {
        rows<R, 1, T, T>(x, y, a.outer, a.reduced);
      }
    } else if (all_aligned(x, y) && a.inner % V == 0) {
      columns<R, V, T>(x, y, a.outer, a.reduced, a.inner / V);
    } else {
      columns<R, 1, T>(x, y, a.outer, a.reduced, a.inner);
    }
  });
}

}  // namespace

void Sum::cuda(const Args& a) { reduce<Summing>(name, a); }
void Max::cuda(const Args& a) { reduce<Maximising>(name, a); }

}  // namespace ito::kernel
