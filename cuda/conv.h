// Convolution on the device: the ladder of kernels behind kernel::Conv2d, Conv2dInputGrad and
// Conv2dWeightGrad. Every rung computes the same; tests and benchmarks call them by name, the
// contracts call `best`.
//
//   naive        one thread per output                          any dtype, any shape
//   tiled        shared memory and register tiles, f32 FMA      f32 and bf16
//   tensor_core  mma.sync, ldmatrix, cp.async pipeline          bf16
//
// No rung writes an im2col matrix, and none uses atomics: the same call gives the same bits.
#pragma once

#include <span>

#include "tensor/kernels/conv.h"

namespace ito::cuda::conv {

void naive(const kernel::Conv2d::Args&);
void naive(const kernel::Conv2dInputGrad::Args&);
void naive(const kernel::Conv2dWeightGrad::Args&);

/// How the matrix product behind a convolution is cut: tiles of m x n, and the sum over k in
/// `splits` parts that are added in order. 0: chosen from the shape and the device.
struct Partition {
  int m = 0, n = 0, splits = 0;
};

/// Whether the tiled and tensor-core rungs can take this shape: kernels up to 15 x 15 and arrays of
/// fewer than 2^30 pixels.
bool can_use_tiles(const kernel::ConvShape&);

/// f32 multiplications (the true ones: no TF32), f32 or bf16 in memory.
void tiled(const kernel::Conv2d::Args&, Partition = {});
void tiled(const kernel::Conv2dInputGrad::Args&, Partition = {});
void tiled(const kernel::Conv2dWeightGrad::Args&, Partition = {});

/// bf16 only; other dtypes throw DTypeError.
void tensor_core(const kernel::Conv2d::Args&, Partition = {});
void tensor_core(const kernel::Conv2dInputGrad::Args&, Partition = {});
void tensor_core(const kernel::Conv2dWeightGrad::Args&, Partition = {});

/// The tiles that can be asked for, largest first. Forward and input gradient have the same.
std::span<const Partition> tiled_partitions();
std::span<const Partition> tensor_core_partitions();
std::span<const Partition> tensor_core_weight_grad_partitions();

}  // namespace ito::cuda::conv
