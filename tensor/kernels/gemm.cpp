#include "tensor/kernels/gemm.h"

#include <algorithm>

namespace ito::kernel {
namespace {

// Steps over k that share a tile's sums: a block of packed columns then fits the first-level cache.
constexpr Index k_block = 256;

template <class T>
struct Tile {
  const T* a;
  Index a_step;  // between rows, or between columns when rows are neighbours
  const T* b;
  Index k;
  const T* start;  // what the sums begin with
  Index start_step;
  T* y;
  Index y_step;
};

template <class T>
using TileFunction = void (*)(const Tile<T>&);

template <class T, int M, int NV, bool dense_rows>
void compute_tile(const Tile<T>& t) {
  constexpr int lanes = simd::lanes<T>;
  simd::vector_of<T> sums[M][NV];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) simd::load(sums[m][v], t.start + m * t.start_step + v * lanes);
  }
  if constexpr (dense_rows) {
    multiply_add_dense<T, M, NV>(sums, t.a, t.a_step, t.b, t.k);
  } else {
    multiply_add<T, 1, M, NV>(sums, t.a, 0, t.a_step, t.b, t.k);
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) simd::store(t.y + m * t.y_step + v * lanes, sums[m][v]);
  }
}

template <class T, int NV, bool dense_rows>
TileFunction<T> tile_function(Index m) {
  static constexpr auto table = []<int... i>(std::integer_sequence<int, i...>) {
    return std::array<TileFunction<T>, sizeof...(i)>{compute_tile<T, i + 1, NV, dense_rows>...};
  }
  (std::make_integer_sequence<int, max_tile>{});
  return table[static_cast<std::size_t>(m - 1)];
}

template <class T>
TileFunction<T> tile_function(Index m, bool two_vectors, bool dense_rows) {
  if (dense_rows) return two_vectors ? tile_function<T, 2, true>(m) : tile_function<T, 1, true>(m);
  return two_vectors ? tile_function<T, 2, false>(m) : tile_function<T, 1, false>(m);
}

/// A tile whose block lacks columns: computed in a full one on the side.
template <class T>
void compute_partial(Tile<T> t, TileFunction<T> compute, Index m, Index valid, Index room) {
  T start[max_tile * block_width<T>] = {}, y[max_tile * block_width<T>];
  for (Index i = 0; i < m; ++i) {
    std::copy_n(t.start + i * t.start_step, valid, start + i * room);
  }
  T* const to = t.y;
  t.start = start, t.start_step = room, t.y = y;
  const Index y_step = std::exchange(t.y_step, room);
  compute(t);
  for (Index i = 0; i < m; ++i) std::copy_n(y + i * room, valid, to + i * y_step);
}

}  // namespace

template <class T>
void multiply(const MatrixView<T>& a, Index m, Index k, const T* packed, Index n, Index first,
              Index last, T* y, Index y_step, Onto onto, const T* bias) {
  static constexpr T zeros[block_width<T>] = {};
  const bool dense_rows = a.row_step == 1;
  for (Index k0 = 0; k0 < std::max<Index>(k, 1); k0 += k_block) {
    const Onto start = k0 == 0 ? onto : Onto::y;
    for (Index b = first; b < last; ++b) {
      const Index column = b * block_width<T>, valid = block_valid<T>(n, b);
      const Index room = block_room<T>(n, b);
      Tile<T> t{};
      t.a_step = dense_rows ? a.column_step : a.row_step;
      t.b = packed + column * k + k0 * room;
      t.k = std::min(k_block, k - k0);
      t.y_step = y_step;
      for_tiles(m, [&](Index i, Index rows) {
        t.a = a.at(i, k0).data;
        t.y = y + i * y_step + column;
        t.start = start == Onto::y ? t.y : start == Onto::bias ? bias + column : zeros;
        t.start_step = start == Onto::y ? y_step : 0;
        const auto compute = tile_function<T>(rows, room == block_width<T>, dense_rows);
        valid == room ? compute(t) : compute_partial(t, compute, rows, valid, room);
      });
    }
  }
}

template void multiply<float>(const MatrixView<float>&, Index, Index, const float*, Index, Index,
                              Index, float*, Index, Onto, const float*);
template void multiply<double>(const MatrixView<double>&, Index, Index, const double*, Index, Index,
                               Index, double*, Index, Onto, const double*);

}  // namespace ito::kernel
