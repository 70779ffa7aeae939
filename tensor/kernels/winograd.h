// The one-dimensional transforms of Winograd's fast convolution with three taps, F(m, 3): m
// neighbouring outputs
//
//   y[i] = d[i] g[0] + d[i + 1] g[1] + d[i + 2] g[2],   i < m
//
// cost m + 2 products instead of 3 m, because with t = m + 2
//
//   y = A^T [(G g) * (B^T d)]                                    (* element by element)
//
// In two dimensions each transform is applied to the columns and then to the rows, and t^2 products
// replace 9 m^2: 2.25 times fewer for m = 2, 4 times fewer for m = 4. Sums over channels are taken
// between the transforms, so that the products become t^2 products of matrices. Lavin and Gray,
// "Fast algorithms for convolutional neural networks", 2016; Winograd, "Arithmetic complexity of
// computations", 1980.
//
// Where the matrices come from (Toom and Cook): the product of two polynomials is known from its
// values at t - 1 points p and its leading coefficient. G evaluates g at the points, divided by
// N(p) = product of p - q over the other points q; A^T is the transpose of an evaluation; row p of
// B^T holds the coefficients of the product of x - q over q != p, and its last row those of the
// product over all q. The points are 0, +-1 for m = 2 and 0, +-5/8, +-3/2 for m = 4: exact in
// binary, and with half the error of the usual 0, +-1, +-2 (over 128 channels of normal numbers in
// f32: rms 1.0e-6 instead of 2.2e-6, largest 0.9e-5 instead of 4.1e-5; direct sums have rms 0.6e-6;
// Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution", 2020,
// search such points). Points that come in pairs share their even and odd parts, so a transform of
// six values takes 12 multiply-adds.
//
// The gradient to the weight is the exact adjoint of y in g: dg = G^T [(B^T d) * (A dy)].
//
// V is a vector of channels (simd::vector_of<T>), or T itself.
#pragma once

#include "tensor/kernels/simd.h"

namespace ito::kernel {

template <class T, int m>
struct Winograd;

template <class T>
struct Winograd<T, 2> {
  static constexpr int outputs = 2, tile = 4;

  /// v = B^T d
  template <class V>
  ITO_INLINE static void input(const V (&d)[4], V (&v)[4]) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
  }
  /// u = G g
  template <class V>
  ITO_INLINE static void weight(const V (&g)[3], V (&u)[4]) {
    const V even = T(0.5) * (g[0] + g[2]), odd = T(0.5) * g[1];
    u[0] = g[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = g[2];
  }
  /// y = A^T s
  template <class V>
  ITO_INLINE static void output(const V (&s)[4], V (&y)[2]) {
    y[0] = s[0] + (s[1] + s[2]);
    y[1] = (s[1] - s[2]) + s[3];
  }
  /// s = A y, the adjoint of `output`
  template <class V>
  ITO_INLINE static void output_adjoint(const V (&y)[2], V (&s)[4]) {
    s[0] = y[0];
    s[1] = y[0] + y[1];
    s[2] = y[0] - y[1];
    s[3] = y[1];
  }
  /// g = G^T u, the adjoint of `weight`
  template <class V>
  ITO_INLINE static void weight_adjoint(const V (&u)[4], V (&g)[3]) {
    const V even = T(0.5) * (u[1] + u[2]);
    g[0] = u[0] + even;
    g[1] = T(0.5) * (u[1] - u[2]);
    g[2] = u[3] + even;
  }
};

template <class T>
struct Winograd<T, 4> {
  static constexpr int outputs = 4, tile = 6;

  /// v = B^T d
  template <class V>
  ITO_INLINE static void input(const V (&d)[6], V (&v)[6]) {
    const V even_a = d[4] - b2 * d[2], odd_a = a * (d[3] - b2 * d[1]);
    const V even_b = d[4] - a2 * d[2], odd_b = b * (d[3] - a2 * d[1]);
    v[0] = (a2 * b2) * d[0] + (d[4] - (a2 + b2) * d[2]);
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = (a2 * b2) * d[1] + (d[5] - (a2 + b2) * d[3]);
  }
  /// u = G g
  template <class V>
  ITO_INLINE static void weight(const V (&g)[3], V (&u)[6]) {
    const V even_a = na * g[0] + (na * a2) * g[2], odd_a = (na * a) * g[1];
    const V even_b = nb * g[0] + (nb * b2) * g[2], odd_b = (nb * b) * g[1];
    u[0] = n0 * g[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g[2];
  }
  /// y = A^T s
  template <class V>
  ITO_INLINE static void output(const V (&s)[6], V (&y)[4]) {
    const V sum_a = s[1] + s[2], difference_a = a * (s[1] - s[2]);
    const V sum_b = s[3] + s[4], difference_b = b * (s[3] - s[4]);
    y[0] = s[0] + sum_a + sum_b;
    y[1] = difference_a + difference_b;
    y[2] = a2 * sum_a + b2 * sum_b;
    y[3] = a2 * difference_a + (b2 * difference_b + s[5]);
  }
  /// s = A y, the adjoint of `output`
  template <class V>
  ITO_INLINE static void output_adjoint(const V (&y)[4], V (&s)[6]) {
    const V even_a = y[0] + a2 * y[2], odd_a = a * (y[1] + a2 * y[3]);
    const V even_b = y[0] + b2 * y[2], odd_b = b * (y[1] + b2 * y[3]);
    s[0] = y[0];
    s[1] = even_a + odd_a;
    s[2] = even_a - odd_a;
    s[3] = even_b + odd_b;
    s[4] = even_b - odd_b;
    s[5] = y[3];
  }
  /// g = G^T u, the adjoint of `weight`
  template <class V>
  ITO_INLINE static void weight_adjoint(const V (&u)[6], V (&g)[3]) {
    const V sum_a = u[1] + u[2], sum_b = u[3] + u[4];
    g[0] = n0 * u[0] + (na * sum_a + nb * sum_b);
    g[1] = (na * a) * (u[1] - u[2]) + (nb * b) * (u[3] - u[4]);
    g[2] = (na * a2) * sum_a + ((nb * b2) * sum_b + u[5]);
  }

 private:
  static constexpr T a = T(0.625), b = T(1.5), a2 = a * a, b2 = b * b;
  static constexpr T n0 = T(1 / (a2 * b2));
  static constexpr T na = T(1 / (2 * a2 * (a2 - b2))), nb = T(1 / (2 * b2 * (b2 - a2)));
};

/// A transform f of `from` values to `to` values, applied to both axes of a square: load(v, i, j)
/// sets v to element (i, j), and store(i, j, v) takes the elements of the result row by row. Both
/// should be always inlined.
template <class V, int from, int to, class F, class Load, class Store>
ITO_INLINE void transform_square(F f, Load load, Store store) {
  V half[to][from];
#pragma GCC unroll 1
  for (int j = 0; j < from; ++j) {
    V column[from], out[to];
#pragma GCC unroll 6
    for (int i = 0; i < from; ++i) load(column[i], i, j);
    f(column, out);
#pragma GCC unroll 6
    for (int i = 0; i < to; ++i) half[i][j] = out[i];
  }
#pragma GCC unroll 1
  for (int i = 0; i < to; ++i) {
    V out[to];
    f(half[i], out);
#pragma GCC unroll 6
    for (int j = 0; j < to; ++j) store(i, j, out[j]);
  }
}

}  // namespace ito::kernel
