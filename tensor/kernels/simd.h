// The processor's vectors, through the vector extension of g++ and clang: arithmetic on a
// `vector_of<T>` is element by element, and the width follows the instruction set that the file is
// compiled for.
#pragma once

#include <cstdint>
#include <cstring>

#include "tensor/kernels/math.h"

namespace ito::simd {

#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
inline constexpr int registers = 32;
#elif defined(__AVX__)
inline constexpr int vector_bytes = 32;
inline constexpr int registers = 16;
#else
inline constexpr int vector_bytes = 16;
inline constexpr int registers = 16;
#endif

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(vector_bytes)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(vector_bytes)));
};
template <class T>
using vector_of = typename VectorOf<T>::type;

/// Elements in a vector.
template <class T>
inline constexpr int lanes = vector_bytes / static_cast<int>(sizeof(T));

// Always inlined, because a function that takes or returns vectors has another calling convention
// on each instruction set.
#define ITO_INLINE __attribute__((always_inline)) inline

/// From and to any address.
template <class T>
ITO_INLINE void load(vector_of<T>& v, const T* from) {
  std::memcpy(&v, from, sizeof(v));
}
template <class T>
ITO_INLINE void store(T* to, const vector_of<T>& v) {
  std::memcpy(to, &v, sizeof(v));
}

/// The first `count` elements; the others read as 0 and are not written. Nothing for count <= 0.
template <class T>
ITO_INLINE void load(vector_of<T>& v, const T* from, std::int64_t count) {
  if (count >= lanes<T>) return load(v, from);
  T elements[lanes<T>] = {};
  for (std::int64_t i = 0; i < count; ++i) elements[i] = from[i];
  load(v, elements);
}
template <class T>
ITO_INLINE void store(T* to, const vector_of<T>& v, std::int64_t count) {
  if (count >= lanes<T>) return store(to, v);
  T elements[lanes<T>];
  store(elements, v);
  for (std::int64_t i = 0; i < count; ++i) to[i] = elements[i];
}

/// e^x for each element: the formula of math::exp, which see.
ITO_INLINE void exp(vector_of<float>& x) {
  using V = vector_of<float>;
  typedef std::int32_t Int __attribute__((vector_size(vector_bytes)));
  const V low = V{} - 104.0f, high = V{} + 89.0f;
  V clamped = x < low ? low : x;
  clamped = clamped > high ? high : clamped;
  const V n = (clamped * 1.44269504088896341f + 12582912.0f) - 12582912.0f;
  V r = clamped - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  V p = V{} + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * (r * r) + r + 1.0f;
  const Int k = __builtin_convertvector(n, Int);
  const Int half = k >> 1;
  const V scale1 = reinterpret_cast<V>((half + 127) << 23);
  const V scale2 = reinterpret_cast<V>((k - half + 127) << 23);
  const V y = p * scale1 * scale2;
  x = x != x ? x : y;
}
ITO_INLINE void exp(vector_of<double>& x) {
  for (int i = 0; i < lanes<double>; ++i) x[i] = math::exp(x[i]);
}

/// e^x for elements of at most 88, as the exponents of a softmax are: that of exp, but in f32 with
/// one factor 2^n, which is 0 where the result would be below 2^-126. NaN may be lost.
ITO_INLINE void exp_to_88(vector_of<float>& x) {
  using V = vector_of<float>;
  typedef std::int32_t Int __attribute__((vector_size(vector_bytes)));
  typedef std::uint32_t Bits __attribute__((vector_size(vector_bytes)));
  // As unsigned numbers, negative floats are ordered the other way, and behind the positive ones.
  const Bits bits = reinterpret_cast<Bits>(x), lowest = Bits{} + 0xc2b00000u;  // -88
  const V c = reinterpret_cast<V>(bits < lowest ? bits : lowest);
  const V shifted = c * 1.44269504088896341f + 12582912.0f;  // n in the last bits
  const V n = shifted - 12582912.0f;
  const V r = (c - n * 0.693359375f) + n * 2.12194440e-4f;
  V p = V{} + 0.001381454f;
  p = p * r + 0.008368745f;
  p = p * r + 0.04166839f;
  p = p * r + 0.16666521f;
  p = p * r + 0.49999994f;
  p = p * (r * r) + (1 + r);
  x = p * reinterpret_cast<V>((reinterpret_cast<Int>(shifted) << 23) + (127 << 23));
}
ITO_INLINE void exp_to_88(vector_of<double>& x) { exp(x); }

/// 1 / (1 + e^-x) for each element. In f32 this is e^-x as math::exp has it, but for |x| <= 87
/// only, so that one factor 2^n is enough; beyond, the result stays as it is there, within 2e-38 of
/// the truth. NaN counts as large: whoever multiplies by x gets it back.
ITO_INLINE vector_of<float> sigmoid(const vector_of<float>& x) {
  using V = vector_of<float>;
  typedef std::int32_t Int __attribute__((vector_size(vector_bytes)));
  // Positive floats are ordered as integers are, and the minimum of integers is one instruction.
  const Int bits = reinterpret_cast<Int>(x), magnitude = bits & 0x7fffffff;
  const Int highest = Int{} + 0x42ae0000;  // 87
  const V c = reinterpret_cast<V>((bits ^ magnitude) | (magnitude < highest ? magnitude : highest));
  const V shifted = c * -1.44269504088896341f + 12582912.0f;  // n in the last bits
  const V n = shifted - 12582912.0f;
  const V r = (c + n * 0.693359375f) - n * 2.12194440e-4f;  // e^-c = 2^n e^-r
  V p = V{} + 0.001381454f;
  p = p * r - 0.008368745f;
  p = p * r + 0.04166839f;
  p = p * r - 0.16666521f;
  p = p * r + 0.49999994f;
  p = p * (r * r) + (1 - r);
  const Int exponent = (reinterpret_cast<Int>(shifted) << 23) + (127 << 23);
  return 1 / (1 + p * reinterpret_cast<V>(exponent));
}
ITO_INLINE vector_of<double> sigmoid(const vector_of<double>& x) {
  vector_of<double> e = -x;
  exp(e);
  return 1 / (1 + e);
}

}  // namespace ito::simd
