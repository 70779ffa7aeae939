// Attention on the CPU: one task per sample and head, which walks the queries in blocks, so that
// the scores of a block stay in the cache.
#include "tensor/kernels/attention.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12 on its own AVX-512 header
#endif
#include <Eigen/Core>
#include <cmath>
#include <limits>

#include "tensor/kernels/math.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

using Index = std::int64_t;
constexpr Index query_block = 64;

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using View = Eigen::Map<Matrix<T>, Eigen::Unaligned, Eigen::OuterStride<>>;
template <class T>
using ConstView = Eigen::Map<const Matrix<T>, Eigen::Unaligned, Eigen::OuterStride<>>;

// Rows [first, first + rows) of one head of an array [n, length, heads d].
template <class T>
ConstView<T> head(const void* array, const AttentionShape& a, Index length, Index n, Index h,
                  Index first, Index rows) {
  const Index width = a.heads * a.d;
  const T* at = static_cast<const T*>(array) + (n * length + first) * width + h * a.d;
  return {at, rows, a.d, Eigen::OuterStride<>(width)};
}
template <class T>
View<T> head(void* array, const AttentionShape& a, Index length, Index n, Index h, Index first,
             Index rows) {
  const Index width = a.heads * a.d;
  T* at = static_cast<T*>(array) + (n * length + first) * width + h * a.d;
  return {at, rows, a.d, Eigen::OuterStride<>(width)};
}

template <class T>
const T* mask_row(const void* mask, const AttentionShape& a, Index n, Index row) {
  if (mask == nullptr) return nullptr;
  return static_cast<const T*>(mask) + ((a.mask_per_sample ? n * a.l : 0) + row) * a.s;
}

// In place: row = exp(scale row + mask - lse). Finds lse itself and returns it.
template <class T>
T softmax_row(T* row, const T* mask, Index s, T scale) {
  constexpr T minus_inf = -std::numeric_limits<T>::infinity();
  T top = minus_inf;
  if (mask != nullptr) {
    for (Index j = 0; j < s; ++j) row[j] = scale * row[j] + mask[j];
  } else {
    for (Index j = 0; j < s; ++j) row[j] *= scale;
  }
  for (Index j = 0; j < s; ++j) top = row[j] > top ? row[j] : top;
  if (top == minus_inf) {
    for (Index j = 0; j < s; ++j) row[j] = row[j] != row[j] ? row[j] : T(0);
    return top;
  }
  T sum = 0;
  for (Index j = 0; j < s; ++j) row[j] = math::exp(row[j] - top);
  for (Index j = 0; j < s; ++j) sum += row[j];
  const T inverse = T(1) / sum;
  for (Index j = 0; j < s; ++j) row[j] *= inverse;
  return top + std::log(sum);
}

// The same with the lse of the forward pass.
template <class T>
void probability_row(T* row, const T* mask, Index s, T scale, T lse) {
  if (lse == -std::numeric_limits<T>::infinity()) {
    std::fill_n(row, s, T(0));
  } else if (mask != nullptr) {
    for (Index j = 0; j < s; ++j) row[j] = math::exp(scale * row[j] + mask[j] - lse);
  } else {
    for (Index j = 0; j < s; ++j) row[j] = math::exp(scale * row[j] - lse);
  }
}

template <class T>
void forward(const Attention::Args& args, Index n, Index h) {
  const AttentionShape& a = args.shape;
  const T scale = static_cast<T>(a.scale);
  const auto k = head<T>(args.k, a, a.s, n, h, 0, a.s);
  const auto v = head<T>(args.v, a, a.s, n, h, 0, a.s);
  T* lse = static_cast<T*>(args.lse) + (n * a.heads + h) * a.l;
  Matrix<T> p;
  for (Index first = 0; first < a.l; first += query_block) {
    const Index rows = std::min(query_block, a.l - first);
    p.noalias() = head<T>(args.q, a, a.l, n, h, first, rows) * k.transpose();
    for (Index i = 0; i < rows; ++i) {
      lse[first + i] =
          softmax_row(p.data() + i * a.s, mask_row<T>(args.mask, a, n, first + i), a.s, scale);
    }
    head<T>(args.y, a, a.l, n, h, first, rows).noalias() = p * v;
  }
}

template <class T>
void backward(const AttentionGrad::Args& args, Index n, Index h) {
  const AttentionShape& a = args.shape;
  const T scale = static_cast<T>(a.scale);
  const auto k = head<T>(args.k, a, a.s, n, h, 0, a.s);
  const auto v = head<T>(args.v, a, a.s, n, h, 0, a.s);
  auto dk = head<T>(args.dk, a, a.s, n, h, 0, a.s);
  auto dv = head<T>(args.dv, a, a.s, n, h, 0, a.s);
  dk.setZero();
  dv.setZero();
  const T* lse = static_cast<const T*>(args.lse) + (n * a.heads + h) * a.l;
  Matrix<T> p, ds;
  for (Index first = 0; first < a.l; first += query_block) {
    const Index rows = std::min(query_block, a.l - first);
    const auto q = head<T>(args.q, a, a.l, n, h, first, rows);
    const auto y = head<T>(args.y, a, a.l, n, h, first, rows);
    const auto dy = head<T>(args.dy, a, a.l, n, h, first, rows);
    p.noalias() = q * k.transpose();
    ds.noalias() = dy * v.transpose();
    for (Index i = 0; i < rows; ++i) {
      T* p_row = p.data() + i * a.s;
      T* ds_row = ds.data() + i * a.s;
      probability_row(p_row, mask_row<T>(args.mask, a, n, first + i), a.s, scale, lse[first + i]);
      const T mean = dy.row(i).dot(y.row(i));
      for (Index j = 0; j < a.s; ++j) ds_row[j] = scale * p_row[j] * (ds_row[j] - mean);
    }
    dv.noalias() += p.transpose() * dy;
    dk.noalias() += ds.transpose() * q;
    head<T>(args.dq, a, a.l, n, h, first, rows).noalias() = ds * k;
  }
}

}  // namespace

void Attention::cpu(const Args& args) {
  with_float(name, args.dtype, [&]<class T>(T) {
    parallel_for(args.shape.n * args.shape.heads, 1, [&](Index begin, Index end) {
      for (Index nh = begin; nh < end; ++nh) {
        forward<T>(args, nh / args.shape.heads, nh % args.shape.heads);
      }
    });
  });
}

void AttentionGrad::cpu(const Args& args) {
  with_float(name, args.dtype, [&]<class T>(T) {
    parallel_for(args.shape.n * args.shape.heads, 1, [&](Index begin, Index end) {
      for (Index nh = begin; nh < end; ++nh) {
        backward<T>(args, nh / args.shape.heads, nh % args.shape.heads);
      }
    });
  });
}

}  // namespace ito::kernel
