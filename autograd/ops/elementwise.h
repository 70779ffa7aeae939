// Element-wise functions.
//
// Two tensors broadcast: shapes are aligned at the last axis and sizes must be equal or 1. Both
// must have one floating dtype and one device. A scalar may stand on either side and takes the
// tensor's dtype. All differentiate any number of times; where a function has a kink the derivative
// is the one named in its comment.
//
//   Tensor y = 2.0 * x + bias;        // x [N, H, W, C], bias [C]
//   Tensor z = where(x > 0.0, x, 0.1 * x);
#pragma once

#include "tensor/tensor.h"

namespace ito {

Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
/// a^b element by element, for a > 0 (a = 0 and a < 0 give what std::pow gives, and its limits as
/// derivatives).
Tensor pow(const Tensor& a, const Tensor& b);
/// x^p. d/dx = p x^(p-1).
Tensor pow(const Tensor& x, double p);
/// The larger or smaller of two; where they are equal each gets half the gradient. NaN wins.
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, const Tensor& b);

/// scale x + shift in one pass.
Tensor affine(const Tensor& x, double scale, double shift);

Tensor neg(const Tensor& x);
Tensor abs(const Tensor& x);  ///< derivative at 0: 0
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor rsqrt(const Tensor& x);  ///< 1 / sqrt(x)
Tensor square(const Tensor& x);
Tensor sin(const Tensor& x);
Tensor cos(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor sigmoid(const Tensor& x);   ///< 1 / (1 + e^-x)
Tensor silu(const Tensor& x);      ///< x sigmoid(x); fused
Tensor softplus(const Tensor& x);  ///< log(1 + e^x)
Tensor relu(const Tensor& x);      ///< max(x, 0); derivative at 0: 0
Tensor erf(const Tensor& x);       ///< 2 / sqrt(pi) times the integral of exp(-u^2) from 0 to x
/// Gaussian error linear unit x Phi(x) = x (1 + erf(x / sqrt 2)) / 2 (Hendrycks & Gimpel 2016).
Tensor gelu(const Tensor& x);
/// min(max(x, low), high); derivative 1 inside and on the bounds, else 0. Throws ValueError when
/// low > high.
Tensor clamp(const Tensor& x, double low, double high);

/// condition != 0 ? a : b, the three broadcast together. No gradient to the condition.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
Tensor where(const Tensor& condition, const Tensor& a, double b);
Tensor where(const Tensor& condition, double a, const Tensor& b);

/// Comparisons give 1 or 0 in the dtype of the arguments, without history.
Tensor equal(const Tensor& a, const Tensor& b);
Tensor less(const Tensor& a, const Tensor& b);
Tensor less_equal(const Tensor& a, const Tensor& b);

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator-(const Tensor& x) { return neg(x); }
inline Tensor operator+(const Tensor& x, double s) { return affine(x, 1.0, s); }
inline Tensor operator+(double s, const Tensor& x) { return affine(x, 1.0, s); }
inline Tensor operator-(const Tensor& x, double s) { return affine(x, 1.0, -s); }
inline Tensor operator-(double s, const Tensor& x) { return affine(x, -1.0, s); }
inline Tensor operator*(const Tensor& x, double s) { return affine(x, s, 0.0); }
inline Tensor operator*(double s, const Tensor& x) { return affine(x, s, 0.0); }
Tensor operator/(const Tensor& x, double s);
Tensor operator/(double s, const Tensor& x);

inline Tensor operator<(const Tensor& a, const Tensor& b) { return less(a, b); }
inline Tensor operator>(const Tensor& a, const Tensor& b) { return less(b, a); }
inline Tensor operator<=(const Tensor& a, const Tensor& b) { return less_equal(a, b); }
inline Tensor operator>=(const Tensor& a, const Tensor& b) { return less_equal(b, a); }
Tensor operator<(const Tensor& a, double b);
Tensor operator>(const Tensor& a, double b);
Tensor operator<=(const Tensor& a, double b);
Tensor operator>=(const Tensor& a, double b);

}  // namespace ito
