// Attention on the CPU: one task per sample and head, which walks the queries in blocks, so that
// the scores of a block stay in the cache. Products are those of gemm.h.
#include "tensor/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/kernels/gemm.h"
#include "tensor/kernels/scratch.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

constexpr Index query_block = 5 * max_tile;

template <class T>
constexpr T minus_infinity = -std::numeric_limits<T>::infinity();

/// One head of one sample in an array [n, length, heads d]: rows `width` apart.
template <class T>
T* head(void* array, const AttentionShape& a, Index length, Index n, Index h) {
  return static_cast<T*>(array) + n * length * a.heads * a.d + h * a.d;
}
template <class T>
const T* head(const void* array, const AttentionShape& a, Index length, Index n, Index h) {
  return head<T>(const_cast<void*>(array), a, length, n, h);
}

template <class T>
const T* mask_row(const void* mask, const AttentionShape& a, Index n, Index row) {
  if (mask == nullptr) return nullptr;
  return static_cast<const T*>(mask) + ((a.mask_per_sample ? n * a.l : 0) + row) * a.s;
}

/// f(offset, elements <= a vector) along a row.
template <class T, class F>
ITO_INLINE void for_vectors(Index s, F f) {
  Index j = 0;
  for (; j + simd::lanes<T> <= s; j += simd::lanes<T>) f(j, Index{simd::lanes<T>});
  if (j < s) f(j, s - j);
}

/// row = scale row + mask; returns the largest element, or a NaN when there is one.
template <class T>
T finish_scores(T* row, const T* mask, Index s, T scale) {
  using V = simd::vector_of<T>;
  V top = V{} + minus_infinity<T>;
  for_vectors<T>(s, [&](Index j, Index count) {
    V x, m{};
    simd::load(x, row + j, count);
    if (mask != nullptr) simd::load(m, mask + j, count);
    x = x * scale + m;
    simd::store(row + j, x, count);
    if (count < simd::lanes<T>) {  // what was not read must not win
      T elements[simd::lanes<T>];
      std::fill_n(elements, simd::lanes<T>, minus_infinity<T>);
      simd::store(elements, x, count);
      simd::load(x, elements);
    }
    top = ((x > top) | (x != x)) ? x : top;
  });
  T result = minus_infinity<T>;
  for (int l = 0; l < simd::lanes<T>; ++l) {
    if (top[l] > result || top[l] != top[l]) result = top[l];
  }
  return result;
}

/// row = exp(row - shift); returns the sum.
template <class T>
T exp_row(T* row, Index s, T shift) {
  using V = simd::vector_of<T>;
  V total{};
  T rest = 0;
  for_vectors<T>(s, [&](Index j, Index count) {
    V x;
    simd::load(x, row + j, count);
    x -= shift;
    simd::exp(x);
    simd::store(row + j, x, count);
    if (count == simd::lanes<T>) {
      total += x;
    } else {
      for (Index l = 0; l < count; ++l) rest += x[l];
    }
  });
  for (int l = 0; l < simd::lanes<T>; ++l) rest += total[l];
  return rest;
}

/// Scores to probabilities, in place. Returns the log of the sum of exp(scale row + mask).
template <class T>
T softmax_row(T* row, const T* mask, Index s, T scale) {
  const T top = finish_scores(row, mask, s, scale);
  if (top == minus_infinity<T>) {  // no key to look at
    std::fill_n(row, s, T(0));
    return top;
  }
  const T sum = exp_row(row, s, top), inverse = T(1) / sum;
  for (Index j = 0; j < s; ++j) row[j] *= inverse;
  return top + std::log(sum);
}

template <class T>
void forward(const Attention::Args& args, Index n, Index h) {
  const AttentionShape& a = args.shape;
  const Index width = a.heads * a.d;
  const T* q = head<T>(args.q, a, a.l, n, h);
  T* y = head<T>(args.y, a, a.l, n, h);
  T* lse = static_cast<T*>(args.lse) + (n * a.heads + h) * a.l;
  Scratch<T> k_packed(packed_size<T>(a.d, a.s)), v_packed(packed_size<T>(a.s, a.d));
  pack_matrix<T>({head<T>(args.k, a, a.s, n, h), 1, width}, a.d, a.s, k_packed.data());
  pack_matrix<T>({head<T>(args.v, a, a.s, n, h), width, 1}, a.s, a.d, v_packed.data());
  Scratch<T> scratch(query_block * a.s);
  T* p = scratch.data();
  for (Index first = 0; first < a.l; first += query_block) {
    const Index rows = std::min(query_block, a.l - first);
    multiply<T>({q + first * width, width, 1}, rows, a.d, k_packed.data(), a.s, p, a.s);
    for (Index i = 0; i < rows; ++i) {
      const T* mask = mask_row<T>(args.mask, a, n, first + i);
      lse[first + i] = softmax_row(p + i * a.s, mask, a.s, static_cast<T>(a.scale));
    }
    multiply<T>({p, a.s, 1}, rows, a.s, v_packed.data(), a.d, y + first * width, width);
  }
}

template <class T>
T dot(const T* a, const T* b, Index count) {
  T sum = 0;
  for (Index i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

/// One query: p becomes the probabilities, ds = dy v^T becomes the gradient of scale q k^T.
template <class T>
void gradient_row(T* p, T* ds, const T* mask, Index s, T scale, T lse, T dy_dot_y) {
  using V = simd::vector_of<T>;
  if (lse == minus_infinity<T>) {
    std::fill_n(p, s, T(0));
    std::fill_n(ds, s, T(0));
    return;
  }
  for_vectors<T>(s, [&](Index j, Index count) {
    V x, d, m{};
    simd::load(x, p + j, count);
    simd::load(d, ds + j, count);
    if (mask != nullptr) simd::load(m, mask + j, count);
    x = x * scale + m - lse;
    simd::exp(x);
    simd::store(p + j, x, count);
    simd::store(ds + j, scale * x * (d - dy_dot_y), count);
  });
}

template <class T>
void backward(const AttentionGrad::Args& args, Index n, Index h) {
  const AttentionShape& a = args.shape;
  const Index width = a.heads * a.d;
  const T* q = head<T>(args.q, a, a.l, n, h);
  const T* k = head<T>(args.k, a, a.s, n, h);
  const T* v = head<T>(args.v, a, a.s, n, h);
  const T* y = head<T>(args.y, a, a.l, n, h);
  const T* dy = head<T>(args.dy, a, a.l, n, h);
  const T* lse = static_cast<const T*>(args.lse) + (n * a.heads + h) * a.l;
  T* dq = head<T>(args.dq, a, a.l, n, h);
  T* dk = head<T>(args.dk, a, a.s, n, h);
  T* dv = head<T>(args.dv, a, a.s, n, h);
  Scratch<T> k_transposed(packed_size<T>(a.d, a.s)), v_transposed(packed_size<T>(a.d, a.s));
  Scratch<T> k_packed(packed_size<T>(a.s, a.d)), rows_packed(packed_size<T>(query_block, a.d));
  pack_matrix<T>({k, 1, width}, a.d, a.s, k_transposed.data());
  pack_matrix<T>({v, 1, width}, a.d, a.s, v_transposed.data());
  pack_matrix<T>({k, width, 1}, a.s, a.d, k_packed.data());
  Scratch<T> scratch(2 * query_block * a.s);
  T *p = scratch.data(), *ds = p + query_block * a.s;
  for (Index first = 0; first < a.l; first += query_block) {
    const Index rows = std::min(query_block, a.l - first), at = first * width;
    const Onto onto = first == 0 ? Onto::zero : Onto::y;
    multiply<T>({q + at, width, 1}, rows, a.d, k_transposed.data(), a.s, p, a.s);
    multiply<T>({dy + at, width, 1}, rows, a.d, v_transposed.data(), a.s, ds, a.s);
    for (Index i = 0; i < rows; ++i) {
      const T dy_dot_y = dot(dy + at + i * width, y + at + i * width, a.d);
      gradient_row(p + i * a.s, ds + i * a.s, mask_row<T>(args.mask, a, n, first + i), a.s,
                   static_cast<T>(a.scale), lse[first + i], dy_dot_y);
    }
    multiply<T>({ds, a.s, 1}, rows, a.s, k_packed.data(), a.d, dq + at, width);
    pack_matrix<T>({dy + at, width, 1}, rows, a.d, rows_packed.data());
    multiply<T>({p, 1, a.s}, a.s, rows, rows_packed.data(), a.d, dv, width, onto);
    pack_matrix<T>({q + at, width, 1}, rows, a.d, rows_packed.data());
    multiply<T>({ds, 1, a.s}, a.s, rows, rows_packed.data(), a.d, dk, width, onto);
  }
  if (a.l == 0) {
    for (Index s = 0; s < a.s; ++s) {
      std::fill_n(dk + s * width, a.d, T(0));
      std::fill_n(dv + s * width, a.d, T(0));
    }
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
