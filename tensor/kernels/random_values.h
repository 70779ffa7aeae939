// From Philox words to numbers, shared by both halves of kernel::Random so that every device gives
// the same bits.
//
// That needs formulas of our own: libraries differ in the last bits of log, sin and cos. Integers
// and scaling by powers of two are exact everywhere, and of IEEE's rounded operations only those
// occur here that every device rounds alike: +, -, *, /, sqrt and fma. Compilers may join a product
// and a sum to an fma on one device and not on the other, so no product here is a term of a sum
// unless the fma is written. (On the GPU this needs nvcc's defaults, -prec-sqrt and -prec-div, and
// no -use_fast_math or -ftz.)
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "tensor/build.h"
#include "tensor/philox.h"

namespace ito::kernel {

/// c0 + x (c1 + x (c2 + ...)), by Horner's rule.
template <class T, class... C>
ITO_HOST_DEVICE inline T polynomial(T x, double c0, C... rest) {
  if constexpr (sizeof...(rest) == 0) {
    return static_cast<T>(c0);
  } else {
    return std::fma(x, polynomial<T>(x, rest...), static_cast<T>(c0));
  }
}

/// log u for a normal u in (0, 1], to about 1e-7 (f32) and 3e-16 (f64) of its value.
/// With u = 2^e m, sqrt(1/2) <= m < sqrt(2), and s = (m - 1) / (m + 1), |s| < 0.172:
///   log u = e log 2 + 2 atanh(s),  atanh(s) = s + s^3 / 3 + s^5 / 5 + ...
template <class T>
ITO_HOST_DEVICE inline T log_of_uniform(T u) {
  using Int = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  constexpr int mantissa = sizeof(T) == 4 ? 23 : 52;
  const Int bits = std::bit_cast<Int>(u);
  // Arithmetic shift: rounds down, so that m starts at sqrt(1/2).
  const Int e = (bits - std::bit_cast<Int>(static_cast<T>(0.70710678118654752440))) >> mantissa;
  const T m = std::bit_cast<T>(static_cast<Int>(bits - e * (Int{1} << mantissa)));
  const T s = (m - 1) / (m + 1);
  const T z = s * s;
  T series;  // (atanh(s) - s) / s^3
  if constexpr (sizeof(T) == 4) {
    series = polynomial<T>(z, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9);
  } else {
    series = polynomial<T>(z, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15,
                           1.0 / 17, 1.0 / 19, 1.0 / 21);
  }
  const T twice = s + s;
  const T log_m = std::fma(twice * z, series, twice);
  return std::fma(static_cast<T>(e), static_cast<T>(0.69314718055994530942), log_m);
}

template <class T>
struct SinCos {
  T sin, cos;
};

/// sin and cos of 2 pi u for u in [0, 1): Taylor's series in the quarter of the circle that u lies
/// in, |angle| <= pi / 4, whose reduction is exact.
template <class T>
ITO_HOST_DEVICE inline SinCos<T> sincos_turns(T u) {
  const T quarters = 4 * u;
  const int q = static_cast<int>(quarters + static_cast<T>(0.5));
  const T x = (quarters - static_cast<T>(q)) * static_cast<T>(1.57079632679489661923);
  const T z = x * x;
  T series_sin, cosine;  // sin x = x + x^3 series_sin
  if constexpr (sizeof(T) == 4) {
    series_sin = polynomial<T>(z, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880);
    cosine = polynomial<T>(z, 1.0, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800);
  } else {
    series_sin = polynomial<T>(z, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800,
                               1.0 / 6227020800, -1.0 / 1307674368000, 1.0 / 355687428096000);
    cosine = polynomial<T>(z, 1.0, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800,
                           1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000,
                           -1.0 / 6402373705728000);
  }
  const T sine = std::fma(x * z, series_sin, x);
  const T a = q % 2 == 0 ? sine : cosine, b = q % 2 == 0 ? cosine : sine;
  return {(q & 2) != 0 ? -a : a, ((q + 1) & 2) != 0 ? -b : b};
}

/// Box-Muller: u1 in (0, 1], u2 in [0, 1) to two independent normals,
/// sqrt(-2 log u1) (cos 2 pi u2, sin 2 pi u2).
template <class T>
ITO_HOST_DEVICE inline void box_muller(T u1, T u2, T& first, T& second) {
  const T radius = std::sqrt(-2 * log_of_uniform(u1));
  const SinCos<T> direction = sincos_turns(u2);
  first = radius * direction.cos;
  second = radius * direction.sin;
}

ITO_HOST_DEVICE inline double uniform53(std::uint32_t high, std::uint32_t low) {
  return static_cast<double>(((std::uint64_t{high} << 32) | low) >> 11) * 0x1p-53;
}
ITO_HOST_DEVICE inline float uniform24(std::uint32_t x) {
  return static_cast<float>(x >> 8) * 0x1p-24f;
}
/// In (0, 1]: the sum rounds to 2^32 at most.
ITO_HOST_DEVICE inline float open_uniform32(std::uint32_t x) {
  return (static_cast<float>(x) + 1.0f) * 0x1p-32f;
}

/// The numbers of one block: four in f32, two in f64.
template <class T>
inline constexpr int random_width = sizeof(T) == 8 ? 2 : 4;

ITO_HOST_DEVICE inline void random_values(const PhiloxCounter& c, bool normal, float out[4]) {
  if (normal) {
    box_muller(open_uniform32(c.c0), uniform24(c.c1), out[0], out[1]);
    box_muller(open_uniform32(c.c2), uniform24(c.c3), out[2], out[3]);
  } else {
    out[0] = uniform24(c.c0);
    out[1] = uniform24(c.c1);
    out[2] = uniform24(c.c2);
    out[3] = uniform24(c.c3);
  }
}
ITO_HOST_DEVICE inline void random_values(const PhiloxCounter& c, bool normal, double out[2]) {
  out[0] = uniform53(c.c0, c.c1);
  out[1] = uniform53(c.c2, c.c3);
  if (normal) box_muller(1.0 - out[0], out[1], out[0], out[1]);
}

/// An integer in [low, low + range): Lemire's multiply-shift on 64 bits, whose bias is below
/// range / 2^64.
ITO_HOST_DEVICE inline std::int64_t random_integer(const PhiloxCounter& c, std::int64_t low,
                                                   std::uint64_t range) {
  __extension__ using u128 = unsigned __int128;
  const std::uint64_t bits = (std::uint64_t{c.c0} << 32) | c.c1;
  const auto offset = static_cast<std::uint64_t>((u128{bits} * range) >> 64);
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + offset);
}

}  // namespace ito::kernel
