// The checks that every row of the op table goes through. Each returns what is wrong, one line per
// finding; nothing when all is well.
#pragma once

#include "tests/ops/op_case.h"

namespace ito::optable {

using Findings = std::vector<std::string>;

Findings check_forward(const OpCase& row);          ///< equals the reference, f64
Findings check_gradient(const OpCase& row);         ///< equals central differences, f64
Findings check_second_gradient(const OpCase& row);  ///< differences of the gradient, f64
Findings check_precision(const OpCase& row);        ///< f32 against f64, forward and backward
Findings check_threads(const OpCase& row);          ///< equal bits for 1, 2, 3 and 8 threads
/// Every device of this build against the CPU, f32, by the normalised mean squared error.
Findings check_devices(const OpCase& row);
/// bf16 on CUDA against f64 on the CPU, on the same rounded inputs.
Findings check_bf16(const OpCase& row);
/// f32 and bf16 on CUDA with inputs that start at an odd element, against the CPU.
Findings check_misaligned(const OpCase& row);
/// Equal bits from run to run on CUDA, and on the emulated device in any order of its threads.
Findings check_repeat(const OpCase& row);
Findings check_errors(const OpCase& row);  ///< undefined, integer, and the row's own bad inputs

}  // namespace ito::optable
