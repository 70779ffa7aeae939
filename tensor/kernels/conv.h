// Contracts: two-dimensional convolution on NHWC images and its two gradients.
//
//   y[n, p, q, o] = bias[o] + addend[n, p, q, o]
//                 + sum over r, s, i of x[n, p stride + r - top, q stride + s - left, i] w[o, r, s,
//                 i]
//
// x is zero outside the image. All arrays are dense and of one dtype.
#pragma once

#include <cstdint>

#include "tensor/kernels/conv_shape.h"

namespace ito::kernel {

class PackedWeights;  // packed_weights.h

/// Forward. Accumulates in the dtype of the arrays, bf16 in f32.
///
/// x may come in two arrays, read as the concatenation of their channels would be: x
/// [n, h, w, in - x2_channels] and x2 [n, h, w, x2_channels].
struct Conv2d {
  static constexpr const char* name = "conv2d";
  struct Args {
    const void* x;
    const void* weight;
    const void* bias;    ///< [out] or null
    const void* addend;  ///< [n, p, q, out], or [n, out] when addend_per_image; or null
    void* y;
    ConvShape shape;
    bool addend_per_image;
    DType dtype;
    const void* x2 = nullptr;
    std::int64_t x2_channels = 0;     ///< channels of x2; 0: x is whole
    PackedWeights* packed = nullptr;  ///< where the CPU keeps what it makes of the weight, or null
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) {
    Cost cost = cost_of(a.shape, a.dtype);
    const std::int64_t pixels = a.addend_per_image ? 1 : a.shape.p * a.shape.q;
    if (a.addend != nullptr) cost.bytes += bytes_of(a.shape.n * pixels * a.shape.out, a.dtype);
    return cost;
  }
};

/// dx[n, h, w, i] = sum over the (p, r) and (q, s) that meet at (h, w), and o, of dy[n, p, q, o]
/// w[o, r, s, i] + bias[i]. With a bias it is a transposed convolution.
struct Conv2dInputGrad {
  static constexpr const char* name = "conv2d_input_grad";
  struct Args {
    const void* dy;
    const void* weight;
    void* dx;
    ConvShape shape;
    DType dtype;
    const void* bias = nullptr;       ///< [in] or null
    PackedWeights* packed = nullptr;  ///< as in Conv2d
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return cost_of(a.shape, a.dtype); }
};

/// dw[o, r, s, i] = sum over n, p, q of dy[n, p, q, o] x[n, p stride + r - top, q stride + s -
/// left, i]. On the CPU x may come in two arrays, as in Conv2d.
struct Conv2dWeightGrad {
  static constexpr const char* name = "conv2d_weight_grad";
  struct Args {
    const void* x;
    const void* dy;
    void* dweight;
    ConvShape shape;
    DType dtype;
    const void* x2 = nullptr;
    std::int64_t x2_channels = 0;  ///< channels of x2; 0 on the device
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) { return cost_of(a.shape, a.dtype); }
};

}  // namespace ito::kernel
