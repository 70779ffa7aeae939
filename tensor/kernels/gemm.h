// Products of matrices for CPU kernels: the register tiles of convolution (tile.h) without
// taps, over a packed right operand in blocks that fit the caches (Goto and van de Geijn, "Anatomy
// of high-performance matrix multiplication", 2008). m k n multiply-adds, n rounded up to whole
// vectors; y is loaded and stored once for every 256 of k.
//
//   Scratch<T> packed(packed_size<T>(k, n));
//   pack_matrix<T>({b, n, 1}, k, n, packed.data());            // b [k, n] row-major
//   multiply<T>({a, k, 1}, m, k, packed.data(), n, y, n);      // y = a b
//
// Single-threaded, except multiply_long; callers cut their work. The right operand is packed once
// and used often.
#pragma once

#include <algorithm>

#include "tensor/kernels/pack.h"
#include "tensor/math.h"

namespace ito::kernel {

/// Element (i, j) is data[i row_step + j column_step]; one of the steps is 1. A transposed matrix
/// has its steps exchanged.
template <class T>
struct MatrixView {
  const T* data;
  Index row_step, column_step;

  MatrixView at(Index i, Index j) const {
    return {data + i * row_step + j * column_step, row_step, column_step};
  }
};

/// Elements of a packed [k, n].
template <class T>
Index packed_size(Index k, Index n) {
  return block_count<T>(n) * block_width<T> * k;
}

/// Block b of the packed form of b [k, n], to packed + b block_width k.
template <class T>
void pack_block(const MatrixView<T>& matrix, Index k, Index n, Index b, T* packed) {
  pack_weights<T>(matrix.data, {0, matrix.column_step, 0, 0, matrix.row_step}, b, n, 1, 1, k,
                  packed + b * block_width<T> * k);
}
template <class T>
void pack_matrix(const MatrixView<T>& matrix, Index k, Index n, T* packed) {
  for (Index b = 0; b < block_count<T>(n); ++b) pack_block(matrix, k, n, b, packed);
}

/// How a product [m, k] [k, n] is cut into tasks of `rows` rows and `blocks` blocks of columns; a
/// function of the sizes only.
struct ProductPartition {
  Index rows, row_tasks, blocks, block_tasks;
  Index tasks() const { return row_tasks * block_tasks; }

  template <class T>
  static ProductPartition of(T, Index m, Index k, Index n) {
    constexpr Index task_work = 1 << 21;      // multiplications
    constexpr Index min_rows = 4 * max_tile;  // so that a block of b in the cache is used often
    const Index all = block_count<T>(n), column_work = block_width<T> * std::max<Index>(k, 1);
    ProductPartition c{};
    c.rows = std::clamp<Index>(task_work / (all * column_work), min_rows, std::max(min_rows, m));
    c.rows = round_up(c.rows, max_tile);
    c.row_tasks = ceil_div(m, c.rows);
    c.blocks = std::clamp<Index>(task_work / (c.rows * column_work), 1, all);
    c.block_tasks = ceil_div(all, c.blocks);
    return c;
  }
};

enum class Onto { zero, bias, y };  ///< what the product is added to

/// y[i, j] = start + sum over k of a[i, k] b[k, j] for i < m and the columns of blocks [first,
/// last) of the packed b [k, n]. y is [m, n] with rows y_step apart; `bias` is [n], used with
/// Onto::bias. For f32 and f64.
template <class T>
void multiply(const MatrixView<T>& a, Index m, Index k, const T* packed, Index n, Index first,
              Index last, T* y, Index y_step, Onto onto, const T* bias);

template <class T>
void multiply(const MatrixView<T>& a, Index m, Index k, const T* packed, Index n, T* y,
              Index y_step, Onto onto = Onto::zero) {
  multiply<T>(a, m, k, packed, n, 0, block_count<T>(n), y, y_step, onto, nullptr);
}

/// y[i, j] = sum over k of a[k, i] b[k, j], for sums much longer than y [m, n] is wide, as in the
/// gradient of a weight, where k counts pixels: parts of the sums are tasks for all threads, and
/// both operands are read where they lie, in pieces that stay in the cache. a has column_step 1.
template <class T>
void multiply_long(const MatrixView<T>& a, const MatrixView<T>& b, Index m, Index n, Index k, T* y,
                   Index y_step);

}  // namespace ito::kernel
