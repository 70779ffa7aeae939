// Which algorithm computes a convolution on the CPU.
//
// Convolutions with 3x3 taps and stride 1 can be computed by Winograd's F(2x2, 3x3) or F(4x4, 3x3)
// (conv_winograd.cpp, conv_winograd_grad.cpp) or directly (conv.cpp, conv_weight_grad.cpp); all others
// are direct. The choice is a function of shape, pass and dtype only, never of the number of threads, so
// that results do not depend on it. f64 is direct unless Winograd is forced: it is there to check
// gradients with.
#pragma once

#include "tensor/dtype.h"
#include "tensor/kernels/conv.h"

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

/// Up to so many tiles, forward pass and input gradient cut their work by output channels and not by
/// tiles (conv_winograd.cpp).
inline constexpr std::int64_t few_winograd_tiles = 128;

enum class ConvPass { forward, input_grad, weight_grad };

/// The m of Winograd's F(m x m, 3x3) for this convolution, 2 or 4; 0 when it is computed directly.
int winograd_outputs(const ConvShape& shape, ConvPass pass, DType dtype);

}  // namespace ito::kernel
