// Checks that stand at the top of an op. Each takes the tensor together with its name, so that it
// cannot print the wrong one:
//
//   expect_shape("group_norm", "bias", bias, {32});
//   // ShapeError: group_norm: bias must be [32]; got bias f32[16] on cpu
#pragma once

#include <initializer_list>
#include <string>

#include "tensor/tensor.h"

namespace ito {

struct Named {
  const char* name;
  const Tensor& tensor;
};

/// "x f32[2, 3] on cpu, bias undefined"
std::string describe(std::initializer_list<Named> tensors);

void expect_defined(const char* op, const char* name, const Tensor& t);
void expect_shape(const char* op, const char* name, const Tensor& t, const Shape& expected);
void expect_rank(const char* op, const char* name, const Tensor& t, int expected);
void expect_dtype(const char* op, const char* name, const Tensor& t, DType expected);
void expect_floating(const char* op, const char* name, const Tensor& t);
/// All defined, with one floating dtype, on one device. Undefined tensors are skipped: they stand
/// for optional arguments.
void expect_same_kind(const char* op, std::initializer_list<Named> tensors);

}  // namespace ito
