// How far two tensors are apart, wherever they lie.
#pragma once

#include <cstring>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/tensor.h"

namespace ito::test {

/// The largest |a - b|, in f64; the shapes may broadcast.
inline double max_difference(const Tensor& a, const Tensor& b) {
  const NoGrad no_grad;
  const auto in_f64 = [](const Tensor& x) { return cast(x.to(Device::cpu()), DType::f64); };
  return max(abs(in_f64(a) - in_f64(b))).item();
}

/// The same shape, dtype and bits.
inline bool same_bits(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to(Device::cpu()), y = b.to(Device::cpu());
  return x.shape() == y.shape() && x.dtype() == y.dtype() &&
         std::memcmp(x.raw(), y.raw(), x.bytes()) == 0;
}

}  // namespace ito::test
