// The shapes that one training step of a U-Net meets, and how often: what bench_kernels and
// bench_conv measure.
#pragma once

#include <cstdint>
#include <vector>

#include "diffusion/models/unet_config.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/conv.h"
#include "tensor/kernels/norm.h"

namespace ito::bench {

template <class Shape>
struct Counted {
  Shape shape;
  int count;  ///< layers of this shape
};

/// y [m, n] = x [m, k] weight [n, k]^T
struct LinearShape {
  std::int64_t m, n, k;
};

struct NormShape {
  kernel::GroupNormShape shape;
  bool silu;
};

struct UNetShapes {
  std::vector<Counted<kernel::ConvShape>> convs;
  std::vector<Counted<NormShape>> norms;
  std::vector<Counted<kernel::AttentionShape>> attentions;
  std::vector<Counted<LinearShape>> linears;  ///< of the attention blocks
};

/// Walks the network as diffusion/models/unet.cpp builds it.
UNetShapes unet_shapes(const UNetConfig& config, std::int64_t batch);

}  // namespace ito::bench
