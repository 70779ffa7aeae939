// Condition: what a network is given of each image besides noise and time. Today that is the class;
// anything else (tokens of a text, a low-resolution image) becomes a field here, and guidance,
// programs and samplers need no change.
//
//   const ConditionalNetwork network = std::cref(unet);
//   const Network sevens = conditional(network, {.labels = Tensor::full({64}, 7, DType::i64)});
//   const Denoiser model = parametrization.denoiser(sevens);
#pragma once

#include <functional>

#include "tensor/tensor.h"

namespace ito {

/// Of a batch of N samples, on their device. An undefined tensor means no such condition.
struct Condition {
  /// Classes, i64 [N] in [0, number of classes]. The value number of classes is the null class,
  /// "any", which dropped labels are trained as.
  Tensor labels = {};
};

/// Both batches, one after the other.
Condition concat(const Condition& a, const Condition& b);
/// Throws DTypeError, ShapeError when a condition is not one of each sample of x [N, ...]; `op`
/// names the caller.
void expect_condition(const char* op, const Condition& condition, const Tensor& x);

/// A network with a condition: (x [N, ...], time [N], condition) to a prediction of x's shape.
using ConditionalNetwork =
    std::function<Tensor(const Tensor& x, const Tensor& time, const Condition& condition)>;

/// The network under one condition. Throws ShapeError when x has another number of samples.
std::function<Tensor(const Tensor& x, const Tensor& time)> conditional(ConditionalNetwork network,
                                                                       Condition condition);

}  // namespace ito
