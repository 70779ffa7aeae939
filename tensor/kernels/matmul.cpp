#include "tensor/kernels/matmul.h"

// Work is cut below, in blocks that do not depend on the number of threads; Eigen's own threads
// would cut it again.
#define EIGEN_DONT_PARALLELIZE
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined registers of its own AVX-512 intrinsics for mistakes (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <Eigen/Core>
#include <algorithm>

#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Stride = Eigen::OuterStride<>;
template <class T>
using ConstMap = Eigen::Map<const Matrix<T>, 0, Stride>;

// y (rows x n, dense) = op(a) op(b) + bias, where the block's first row or column of `a` is at a.
template <class T>
void block(const Matmul::Args& s, const T* a, const T* b, T* y, std::int64_t rows) {
  Eigen::Map<Matrix<T>> result(y, rows, s.n);
  if (s.bias != nullptr) {
    result.rowwise() =
        Eigen::Map<const Eigen::RowVector<T, Eigen::Dynamic>>(static_cast<const T*>(s.bias), s.n);
  } else {
    result.setZero();
  }
  if (s.k == 0) return;
  const ConstMap<T> plain_b(b, s.transpose_b ? s.n : s.k, s.transpose_b ? s.k : s.n,
                            Stride(s.transpose_b ? s.k : s.n));
  const auto add_product = [&](const auto& left) {
    if (s.transpose_b) {
      result.noalias() += left * plain_b.transpose();
    } else {
      result.noalias() += left * plain_b;
    }
  };
  if (s.transpose_a) {
    add_product(ConstMap<T>(a, s.k, rows, Stride(s.m)).transpose());
  } else {
    add_product(ConstMap<T>(a, rows, s.k, Stride(s.k)));
  }
}

// Rows of one piece of work: about 4 million multiplications, at least 64 rows so that packing b
// pays.
std::int64_t block_rows(const Matmul::Args& s) {
  const std::int64_t wanted = (std::int64_t{1} << 22) / std::max<std::int64_t>(1, s.n * s.k);
  return std::clamp<std::int64_t>(wanted, 64, std::max<std::int64_t>(64, s.m));
}

}  // namespace

void Matmul::cpu(const Args& s) {
  if (s.batch == 0 || s.m == 0 || s.n == 0) return;
  with_float(name, s.dtype, [&]<class T>(T) {
    const std::int64_t per_block = block_rows(s), blocks = (s.m + per_block - 1) / per_block;
    const std::int64_t work = std::min(per_block, s.m) * s.n * std::max<std::int64_t>(1, s.k);
    const std::int64_t grain = std::max<std::int64_t>(1, (1 << 16) / work);
    parallel_for(s.batch * blocks, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t matrix = i / blocks, row = i % blocks * per_block;
        const T* a = static_cast<const T*>(s.a) + matrix * s.a_step;
        const T* b = static_cast<const T*>(s.b) + matrix * s.b_step;
        T* y = static_cast<T*>(s.y) + (matrix * s.m + row) * s.n;
        block(s, a + (s.transpose_a ? row : row * s.k), b, y, std::min(per_block, s.m - row));
      }
    });
  });
}

}  // namespace ito::kernel
