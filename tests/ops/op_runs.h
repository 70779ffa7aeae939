// Running a row of the op table and comparing what comes out: what the checks share.
#pragma once

#include "tests/compare.h"
#include "tests/ops/op_case.h"

namespace ito::optable {

using test::same_bits;

/// "softmax, axis 0 [2, 3][3]"
std::string label(const OpCase& row, const std::vector<Shape>& shapes);
/// "result" or "gradient of differentiable input 0": the names of what run_both_ways gives.
std::string part(std::size_t i);

std::vector<std::size_t> differentiable_inputs(const OpCase& row);
/// The row's shapes and `large`.
std::vector<std::vector<Shape>> with_large(const OpCase& row);
/// The same for the checks on a device.
std::vector<std::vector<Shape>> with_large_on(Device device, const OpCase& row);

/// The result and, when the row differentiates, the gradient of each differentiable input for a
/// fixed random gradient of the result: the same numbers for every dtype and device. `offset`: how
/// many elements into its storage that gradient starts.
Tensors run_both_ways(const OpCase& row, const Tensors& inputs, std::int64_t offset = 0);

/// The tensor's elements in a new tensor that starts `offset` elements into its storage.
Tensor shifted(const Tensor& t, std::int64_t offset);

/// sum (a - b)^2 / sum b^2; 0 for equal arrays, NaN when either has one that the other has not.
double normalised_error(const Array& a, const Array& b);

}  // namespace ito::optable
