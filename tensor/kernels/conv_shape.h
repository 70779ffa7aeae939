// What the convolutions of CPU and CUDA both compute from sizes alone.
#pragma once

#include <cstdint>

#include "tensor/build.h"
#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"
#include "tensor/kernels/index.h"

namespace ito::kernel {

struct ConvShape {
  std::int64_t n;          ///< images
  std::int64_t h, w, in;   ///< x [n, h, w, in]
  std::int64_t p, q, out;  ///< y [n, p, q, out]
  std::int64_t kh, kw;     ///< weight [out, kh, kw, in]
  std::int64_t stride;     ///< along both axes
  std::int64_t top, left;  ///< zeros before the first row and column
};

/// Of the forward pass and of each gradient alike: three arrays and the same products.
inline Cost cost_of(const ConvShape& s, DType dtype) {
  return {
      .flops = product_flops(s.n, s.p, s.q, s.out, s.kh, s.kw, s.in),
      .bytes = bytes_of(
          s.n * s.h * s.w * s.in + s.out * s.kh * s.kw * s.in + s.n * s.p * s.q * s.out, dtype)};
}

/// Of the taps r = 0 .. size - 1 of a kernel along one axis, the number of those with
/// r % stride = phase.
template <class I>
ITO_HOST_DEVICE constexpr I taps_of_phase(I phase, I size, I stride) {
  return phase < size ? (size - 1 - phase) / stride + 1 : 0;
}

/// The gradient to the input at stride s is, along each axis, s correlations at stride 1: the rows
/// h of dx with (h + pad) % s = phase are reached by the taps r = phase, phase + s, ... only, each
/// from row p = (h + pad - r) / s of dy.
struct InputGradPhase {
  Index first;  ///< the first such row of dx; the others follow at distance s
  Index count;  ///< how many there are
  Index taps;   ///< how many taps reach them
  Index pad;    ///< zeros before the first row of dy, when the taps are taken in reverse order
};

/// Along an axis of `length` rows of dx, `size` taps and `pad` zeros before the first row of x.
constexpr InputGradPhase input_grad_phase(Index phase, Index length, Index size, Index pad,
                                          Index stride) {
  const Index first = ((phase - pad) % stride + stride) % stride;
  const Index taps = taps_of_phase(phase, size, stride);
  return {.first = first,
          .count = length > first ? (length - first - 1) / stride + 1 : 0,
          .taps = taps,
          .pad = taps - 1 - (first + pad - phase) / stride};
}

}  // namespace ito::kernel
