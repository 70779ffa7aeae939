// Checks gradients against central differences in f64.
//
//   const auto f = [](const std::vector<Tensor>& in) { return matmul(in[0], in[1]); };
//   const Tensor a = randn(rng, {4, 3}, DType::f64), b = randn(rng, {3, 2}, DType::f64);
//   const GradcheckResult r = gradcheck(f, {a, b});
//   if (!r) fmt::print("{}", r.report);
//   // input 1 [3, 2], element 4: gradient 0.5, difference 1
//
// It tells whether a gradient belongs to its forward pass, not whether the forward pass is right,
// and only at the given point: choose inputs away from kinks (further than eps) and without
// symmetries. For tests: the cost is two evaluations of f per element.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace ito {

struct GradcheckOptions {
  double eps = 1e-6;   ///< step of the central difference
  double atol = 1e-7;  ///< |gradient - difference| <= atol + rtol |difference|
  double rtol = 1e-5;
};

struct GradcheckResult {
  bool ok = true;
  double worst = 0.0;  ///< largest |gradient - difference|
  std::string report;  ///< the first elements that differ, one a line; empty when ok
  explicit operator bool() const { return ok; }
};

using TensorFunction = std::function<Tensor(const std::vector<Tensor>& inputs)>;

/// Compares d<w, f(inputs)> / d inputs with (<w, f(x + eps)> - <w, f(x - eps)>) / (2 eps) for one
/// fixed random w, element by element.
///   f       a repeatable function; its result may have any shape. Inputs come to it as parameters.
///   inputs  f64 tensors to differentiate; tensors of other dtypes are passed through as constants.
/// Throws DTypeError when no input or the result is not f64; what f throws.
GradcheckResult gradcheck(const TensorFunction& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options = {});

/// The same one order higher: g(inputs) = sum of <v_i, d<w, f> / d input_i> for fixed random v_i is
/// handed to gradcheck. Every second derivative takes part in it.
GradcheckResult gradcheck_second(const TensorFunction& f, const std::vector<Tensor>& inputs,
                                 const GradcheckOptions& options = {});

}  // namespace ito
