// Elements that change places within and between vectors (simd.h): sums and maxima of a vector's
// elements, and transposes in registers.
#pragma once

#include <utility>

#include "tensor/kernels/simd.h"

namespace ito::simd {
namespace detail {

/// Element i of the result is element (i + step) % lanes of v.
template <int step, class V, int... i>
ITO_INLINE void rotate(V& v, std::integer_sequence<int, i...>) {
  v = __builtin_shufflevector(v, v, (i + step) % static_cast<int>(sizeof...(i))...);
}

/// One half of each, element by element in turn: a[from], b[from], a[from + 1], b[from + 1], ...
template <int from, class V, int... i>
ITO_INLINE void interleave(V& to, const V& a, const V& b, std::integer_sequence<int, i...>) {
  to = __builtin_shufflevector(a, b, from + i / 2 + (i % 2) * static_cast<int>(sizeof...(i))...);
}

}  // namespace detail

/// op(v[0], v[1], ...) in every element, for an op on vectors that does not care about the order;
/// in log2(lanes) steps.
template <class T, int step = lanes<T> / 2, class Op>
ITO_INLINE void reduce(vector_of<T>& v, Op op) {
  if constexpr (step > 0) {
    vector_of<T> other = v;
    detail::rotate<step>(other, std::make_integer_sequence<int, lanes<T>>{});
    v = op(v, other);
    reduce<T, step / 2>(v, op);
  }
}

template <class T>
ITO_INLINE T sum(vector_of<T> v) {
  reduce<T>(v, [](const vector_of<T>& a, const vector_of<T>& b) { return a + b; });
  return v[0];
}

/// The square matrix of `lanes` vectors becomes its transpose. After log2(lanes) rounds, in which
/// the vectors of the upper and the lower half are interleaved like cards, each element's place in
/// its vector has become the number of its vector.
template <class T>
ITO_INLINE void transpose(vector_of<T> (&rows)[lanes<T>]) {
  constexpr int n = lanes<T>;
  constexpr auto all = std::make_integer_sequence<int, n>{};
#pragma GCC unroll 4
  for (int round = 1; round < n; round *= 2) {
    vector_of<T> next[n];
#pragma GCC unroll 8
    for (int i = 0; i < n / 2; ++i) {
      detail::interleave<0>(next[2 * i], rows[i], rows[i + n / 2], all);
      detail::interleave<n / 2>(next[2 * i + 1], rows[i], rows[i + n / 2], all);
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) rows[i] = next[i];
  }
}

}  // namespace ito::simd
