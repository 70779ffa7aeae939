// Contracts: group normalisation of x [n, positions, channels], with or without a silu behind it.
//
// Groups are runs of `channels / groups` neighbouring channels. With xh = (x - mean) rstd and
// z = xh weight + bias, the output is z or silu(z) = z sigmoid(z).
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kernels/cost.h"

namespace ito::kernel {

/// x may come in two arrays, as the concatenation of their channels would be: x
/// [n, positions, channels - x2_channels] and x2 [n, positions, x2_channels]. A group may have
/// channels of both.
struct GroupNormShape {
  std::int64_t n, positions, channels, groups;
  std::int64_t x2_channels = 0;  ///< channels of x2
};

struct GroupNorm {
  static constexpr const char* name = "group_norm";
  struct Args {
    const void* x;
    const void* weight;  ///< [channels]
    const void* bias;    ///< [channels]
    void* y;
    void* statistics;  ///< out: mean and 1 / sqrt(variance + eps), [n, groups, 2]; f32 for bf16
    GroupNormShape shape;
    double eps;
    bool silu;
    DType dtype;
    const void* x2 = nullptr;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) {
    return {.bytes = bytes_of(2 * a.shape.n * a.shape.positions * a.shape.channels, a.dtype)};
  }
};

/// All three gradients. With dz = dy (or dy silu'(z)), m elements in a group and sums over them:
///   dbias[c] = sum of dz, dweight[c] = sum of dz xh
///   dx = rstd (dz weight - sum(dz weight) / m - xh sum(dz weight xh) / m)
struct GroupNormGrad {
  static constexpr const char* name = "group_norm_grad";
  struct Args {
    const void* x;
    const void* dy;
    const void* weight;
    const void* bias;
    const void* statistics;  ///< of the forward pass
    void* dx;
    void* dweight;
    void* dbias;
    void* partial;  ///< scratch [n, 2, channels]: each image's dbias and dweight; f32 for bf16
    GroupNormShape shape;
    bool silu;
    DType dtype;
    const void* x2 = nullptr;
    void* dx2 = nullptr;
  };
  static void cpu(const Args&);
  static void cuda(const Args&);
  static Cost cost(const Args& a) {
    return {.bytes = bytes_of(3 * a.shape.n * a.shape.positions * a.shape.channels, a.dtype)};
  }
};

}  // namespace ito::kernel
