// Which algorithm computes a convolution on the CPU. The first of these that fits:
//
//   Winograd   3x3, stride 1, f32, 16 channels and more on both sides, where the cost model here
//              finds it cheaper                           conv_winograd.cpp, conv_winograd_grad.cpp
//   product    1x1, stride 1, no border; forward, no addend per image            conv_pointwise.cpp
//   narrow     several taps, stride 1, up to 4 channels on one side: forward and input gradient of
//              few outputs, weight gradient of few inputs or outputs                conv_narrow.cpp
//   direct     all others, and those of few outputs whose x is in two arrays
//                                                               conv.cpp, conv_weight_grad.cpp
//
// Conv2d and Conv2dInputGrad choose in conv.cpp, Conv2dWeightGrad in conv_weight_grad.cpp. 2x
// upsampling with a 3x3 convolution is a kernel of its own, conv_upsample2x.cpp; other upsampling
// is the input gradient of a convolution whose weights are folded first (conv_upsample.h).
//
// The choice is a function of shape, pass and dtype only, never of the number of threads, so that
// results do not depend on it; nor, forward and for the gradient to the input, of the number of
// images, so that an image has the same bits in any batch. f64 never uses Winograd unless forced:
// f64 is for gradient checks.
#pragma once

#include "tensor/dtype.h"
#include "tensor/kernels/conv_shape.h"

namespace ito::kernel {

enum class ConvAlgorithm {
  automatic,   ///< what the cost model finds cheapest
  direct,      ///< never Winograd
  winograd,    ///< Winograd wherever it is possible, with the cheaper m
  winograd_2,  ///< F(2x2, 3x3) wherever it is possible
  winograd_4,  ///< F(4x4, 3x3) wherever it is possible
};

/// For tests and benchmarks: forces an algorithm from now on. Not to be called while a convolution
/// runs.
void set_conv_algorithm(ConvAlgorithm algorithm);

/// Up to this many tiles, forward pass and input gradient split their work by output channels, not
/// by tiles (conv_winograd.cpp).
inline constexpr std::int64_t max_tiles_split_by_channels = 128;

enum class ConvPass { forward, input_grad, weight_grad };

/// The m of Winograd's F(m x m, 3x3) for this convolution, 2 or 4; 0 when it is computed directly.
int winograd_outputs(const ConvShape& shape, ConvPass pass, DType dtype);

}  // namespace ito::kernel
