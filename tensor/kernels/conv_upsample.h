// Contracts: convolution behind nearest upsampling: its folded weights, and a kernel of its own for
// the sizes of U-Nets.
//
// Upsampling by f and a convolution with a k x k kernel at stride 1 are together the transpose of a
// convolution at stride f, with a kernel of k + f - 1 rows and columns whose weights are sums:
//
//   folded[i, r', s', o] = sum over e, d = 0 .. f-1 of weight[o, e + kh - 1 - r', d + kw - 1 - s',
//   i]
//
// where weights outside the kernel count as zero. In each of the f x f classes of output pixels
// only (k + f - 1) / f taps per axis meet it: 2 x 2 instead of 3 x 3 for f = 2.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"

namespace ito::kernel {

class PackedWeights;  // packed_weights.h

struct FoldShape {
  std::int64_t out, kh, kw, in;  ///< weight [out, kh, kw, in]
  std::int64_t factor;           ///< folded [in, kh + factor - 1, kw + factor - 1, out]
};

inline Cost cost_of(const FoldShape& s, DType dtype) {
  const std::int64_t taps = (s.kh + s.factor - 1) * (s.kw + s.factor - 1);
  return {.bytes = bytes_of(s.out * s.in * (s.kh * s.kw + taps), dtype)};
}

struct FoldUpsampling {
  static constexpr const char* name = "fold_upsampling";
  struct Args {
    const void* weight;
    void* folded;
    FoldShape shape;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return cost_of(a.shape, a.dtype); }
};

/// The transpose: dweight[o, r, s, i] = sum over e, d of
///                dfolded[i, e + kh - 1 - r, d + kw - 1 - s, o]
struct FoldUpsamplingGrad {
  static constexpr const char* name = "fold_upsampling_grad";
  struct Args {
    const void* dfolded;
    void* dweight;
    FoldShape shape;
    DType dtype;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return cost_of(a.shape, a.dtype); }
};

/// 2x nearest upsampling and a 3x3 convolution with one zero around, as three passes of one kernel
/// on the CPU; on the device the folded weights and convolution do as well.
///
///   y[n, p, q, o] = bias[o] + sum over r, s, i of x2[n, p + r - 1, q + s - 1, i] weight[o, r, s,
///   i]
///
/// where x2[n, p, q] = x[n, p / 2, q / 2] and 0 outside the image.
struct UpsampleShape {
  std::int64_t n, h, w, in;  ///< x [n, h, w, in]
  std::int64_t out;          ///< y [n, 2 h, 2 w, out], weight [out, 3, 3, in]
};

/// By the definition: nine taps for each output pixel.
inline Cost cost_of(const UpsampleShape& s, DType dtype) {
  return {.flops = product_flops(s.n, 2 * s.h, 2 * s.w, s.out, 9, s.in),
          .bytes = bytes_of(s.n * s.h * s.w * (s.in + 4 * s.out) + s.out * 9 * s.in, dtype)};
}

struct UpsampleConv2d {
  static constexpr const char* name = "upsample_conv2d";
  struct Args {
    const void* x;
    const void* weight;
    const void* bias;  ///< [out] or null
    void* y;
    UpsampleShape shape;
    DType dtype;
    PackedWeights* packed = nullptr;  ///< where the CPU keeps what it makes of the weight, or null
  };
  static void cpu(const Args&);
  static Cost cost(const Args& a) { return cost_of(a.shape, a.dtype); }
};

struct UpsampleConv2dInputGrad {
  static constexpr const char* name = "upsample_conv2d_input_grad";
  struct Args {
    const void* dy;
    const void* weight;
    void* dx;
    UpsampleShape shape;
    DType dtype;
  };
  static void cpu(const Args&);
  static Cost cost(const Args& a) { return cost_of(a.shape, a.dtype); }
};

struct UpsampleConv2dWeightGrad {
  static constexpr const char* name = "upsample_conv2d_weight_grad";
  struct Args {
    const void* x;
    const void* dy;
    void* dweight;
    UpsampleShape shape;
    DType dtype;
  };
  static void cpu(const Args&);
  static Cost cost(const Args& a) { return cost_of(a.shape, a.dtype); }
};

}  // namespace ito::kernel
