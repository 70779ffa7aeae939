// Elementary functions that compilers can vectorise: no tables, no branches, no errno.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "tensor/build.h"

namespace ito::math {

/// e^x in f32, within 2 ulp on the CPU (tests/tensor/math_test.cpp). Cody-Waite reduction x = n ln2
/// + r with |r| <= ln2 / 2, then a polynomial of degree 6 in r, then 2^n through the exponent bits
/// in two factors, so that results down to the denormals are right. Overflow gives inf, NaN stays
/// NaN.
ITO_HOST_DEVICE inline float exp(float x) {
#if defined(__CUDA_ARCH__)
  return ::expf(x);
#else
  const float clamped = x < -104.0f ? -104.0f : (x > 89.0f ? 89.0f : x);
  const float shifted = clamped * 1.44269504088896341f + 12582912.0f;  // round to nearest integer
  const float n = shifted - 12582912.0f;
  float r = clamped - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  // (e^r - 1 - r) / r^2, its relative error in e^r minimised over the interval: 4e-9.
  float p = 0.001381454f;
  p = p * r + 0.008368745f;
  p = p * r + 0.04166839f;
  p = p * r + 0.16666521f;
  p = p * r + 0.49999994f;
  p = p * (r * r) + r + 1.0f;
  const auto k = static_cast<std::int32_t>(n);
  const std::int32_t half = k >> 1;
  const float scale1 = std::bit_cast<float>((half + 127) << 23);
  const float scale2 = std::bit_cast<float>((k - half + 127) << 23);
  const float y = p * scale1 * scale2;
  return x != x ? x : y;
#endif
}
ITO_HOST_DEVICE inline double exp(double x) { return std::exp(x); }

/// 1 / (1 + e^-x)
template <class T>
ITO_HOST_DEVICE T sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}

}  // namespace ito::math
