#include "tensor/kernels/gemm.h"

#include <algorithm>

#include "tensor/kernels/scratch.h"
#include "tensor/parallel.h"

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

/// Asks for the lines of the next tile's rows while this one is computed: they come in pieces too
/// short for the processor to see a stream.
template <class T>
void prefetch_rows(const MatrixView<T>& a, Index rows, Index k) {
  constexpr Index line = 64 / static_cast<Index>(sizeof(T));
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < k; j += line) __builtin_prefetch(a.data + i * a.row_step + j);
  }
}

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
  return choose<max_tile>(m, []<int M>() { return &compute_tile<T, M, NV, dense_rows>; });
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

constexpr Index long_block = 128;

/// pack_matrix row after row, as the rows lie in memory.
template <class T>
void pack_rows(const MatrixView<T>& matrix, Index k, Index n, T* packed) {
  for (Index i = 0; i < k; ++i) {
    for (Index b = 0; b < block_count<T>(n); ++b) {
      const Index valid = block_valid<T>(n, b), room = block_room<T>(n, b);
      const T* from = matrix.at(i, b * block_width<T>).data;
      T* to = packed + b * block_width<T> * k + i * room;
      if (valid == block_width<T>) {
        simd::vector_of<T> v[2];
        simd::load(v[0], from), simd::load(v[1], from + simd::lanes<T>);
        simd::store(to, v[0]), simd::store(to + simd::lanes<T>, v[1]);
      } else {
        std::copy_n(from, valid, to);
        std::fill_n(to + valid, room - valid, T(0));
      }
    }
  }
}

/// How a product with long sums is cut into tasks: chunks of the sums, and groups of columns whose
/// results stay in the second-level cache. A function of the sizes only.
struct LongPartition {
  Index blocks, groups, per_chunk, chunks;

  template <class T>
  static LongPartition of(T, Index m, Index n, Index k) {
    constexpr Index cache = 256 << 10, target_tasks = 16, min_steps = 2 * k_block;
    const Index all = block_count<T>(n);
    const Index block_bytes = m * block_width<T> * static_cast<Index>(sizeof(T));
    LongPartition c{};
    c.blocks = std::clamp<Index>(cache / block_bytes, 1, all);
    c.groups = ceil_div(all, c.blocks);
    c.blocks = ceil_div(all, c.groups);
    c.chunks = std::clamp<Index>(k / min_steps, 1, ceil_div(target_tasks, c.groups));
    c.per_chunk = std::max<Index>(1, ceil_div(k, c.chunks));
    c.chunks = std::max<Index>(1, ceil_div(k, c.per_chunk));
    return c;
  }
};

}  // namespace

template <class T>
void multiply_long(const MatrixView<T>& a, const MatrixView<T>& b, Index m, Index n, Index k, T* y,
                   Index y_step) {
  if (m * n == 0) return;
  const LongPartition parts = LongPartition::of(T(), m, n, k);
  const Index width = parts.blocks * block_width<T>;  // of a task's sums
  Scratch<T> sums(parts.chunks * parts.groups * m * width);
  parallel_for(parts.chunks * parts.groups, 1, [&](Index begin, Index end) {
    Scratch<T> packed(packed_size<T>(long_block, width));
    for (Index task = begin; task < end; ++task) {
      const Index column = task % parts.groups * width, columns = std::min(width, n - column);
      const Index first = task / parts.groups * parts.per_chunk;
      const Index last = std::min(k, first + parts.per_chunk);
      T* sum = sums.data() + task * m * width;
      std::fill_n(sum, m * width, T(0));
      for (Index k0 = first; k0 < last; k0 += long_block) {
        const Index steps = std::min(long_block, last - k0);
        pack_rows(b.at(k0, column), steps, columns, packed.data());
        prefetch_rows(a.at(k0 + steps, 0), std::min(long_block, last - k0 - steps), m);
        prefetch_rows(b.at(k0 + steps, column), std::min(long_block, last - k0 - steps), columns);
        multiply<T>({a.at(k0, 0).data, a.column_step, a.row_step}, m, steps, packed.data(), columns,
                    sum, width, Onto::y);
      }
    }
  });
  parallel_for(m, 16, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      for (Index g = 0; g < parts.groups; ++g) {
        const Index column = g * width, columns = std::min(width, n - column);
        T* to = y + i * y_step + column;
        std::fill_n(to, columns, T(0));
        for (Index chunk = 0; chunk < parts.chunks; ++chunk) {
          const T* from = sums.data() + ((chunk * parts.groups + g) * m + i) * width;
          for (Index j = 0; j < columns; ++j) to[j] += from[j];
        }
      }
    }
  });
}

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
        if (b == first && !dense_rows) {
          prefetch_rows(a.at(i + rows, k0), std::min(rows, m - i - rows), t.k);
        }
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
template void multiply_long<float>(const MatrixView<float>&, const MatrixView<float>&, Index, Index,
                                   Index, float*, Index);
template void multiply_long<double>(const MatrixView<double>&, const MatrixView<double>&, Index,
                                    Index, Index, double*, Index);

}  // namespace ito::kernel
