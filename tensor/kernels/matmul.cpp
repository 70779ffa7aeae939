// Matrix products on the CPU: b is packed once by all threads, then tasks of some rows and blocks
// of columns multiply (gemm.h has the cost). Gradients of weights, a^T b over many rows, are
// multiply_long's.
#include "tensor/kernels/matmul.h"

#include <algorithm>

#include "tensor/kernels/gemm.h"
#include "tensor/kernels/packed_weights.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

// From here on products of the kind that multiply_long knows are its own.
constexpr Index long_sums = 512;

template <class T>
void matmul(const Matmul::Args& s) {
  if (s.batch == 1 && s.transpose_a && !s.transpose_b && s.bias == nullptr && s.k >= long_sums) {
    multiply_long<T>({static_cast<const T*>(s.a), s.m, 1}, {static_cast<const T*>(s.b), s.n, 1},
                     s.m, s.n, s.k, static_cast<T*>(s.y), s.n);
    return;
  }
  const Index blocks = block_count<T>(s.n), size = packed_size<T>(s.k, s.n);
  const Index matrices = s.b_step == 0 ? 1 : s.batch;
  const PackedWeight<T> packed(
      s.packed, {PackedWeights::product, matrices, s.k, s.n, s.transpose_b, s.b_step},
      matrices * size, [&](T* to) {
        const Index small =
            std::max<Index>(1, (1 << 16) / (block_width<T> * std::max<Index>(1, s.k)));
        parallel_for(matrices * blocks, small, [&](Index begin, Index end) {
          for (Index i = begin; i < end; ++i) {
            const T* b = static_cast<const T*>(s.b) + i / blocks * s.b_step;
            const MatrixView<T> view =
                s.transpose_b ? MatrixView<T>{b, 1, s.k} : MatrixView<T>{b, s.n, 1};
            pack_block(view, s.k, s.n, i % blocks, to + i / blocks * size);
          }
        });
      });
  const ProductPartition c = ProductPartition::of(T(), s.m, s.k, s.n);
  const Index tasks = c.tasks();
  const Index work = std::min(c.rows, s.m) * c.blocks * block_width<T> * std::max<Index>(1, s.k);
  parallel_for(s.batch * tasks, std::max<Index>(1, (1 << 17) / work), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index matrix = i / tasks, row = i % tasks / c.block_tasks * c.rows;
      const Index block = i % c.block_tasks * c.blocks;
      const T* a = static_cast<const T*>(s.a) + matrix * s.a_step;
      const MatrixView<T> view =
          s.transpose_a ? MatrixView<T>{a, 1, s.m} : MatrixView<T>{a, s.k, 1};
      multiply<T>(view.at(row, 0), std::min(c.rows, s.m - row), s.k,
                  packed.data() + (s.b_step == 0 ? 0 : matrix * size), s.n, block,
                  std::min(blocks, block + c.blocks),
                  static_cast<T*>(s.y) + (matrix * s.m + row) * s.n, s.n,
                  s.bias == nullptr ? Onto::zero : Onto::bias, static_cast<const T*>(s.bias));
    }
  });
}

}  // namespace

void Matmul::cpu(const Args& s) {
  if (s.batch == 0 || s.m == 0 || s.n == 0) return;
  with_float(name, s.dtype, [&]<class T>(T) { matmul<T>(s); });
}

}  // namespace ito::kernel
