#include "tensor/check.h"

#include "tensor/error.h"

namespace ito {

std::string describe(std::initializer_list<Named> tensors) {
  std::string text;
  for (const auto& [name, tensor] : tensors) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, tensor.str());
  }
  return text;
}

void expect_defined(const char* op, const char* name, const Tensor& t) {
  if (!t.defined()) fail<Error>("{}: {} must be given; got an undefined tensor", op, name);
}

void expect_shape(const char* op, const char* name, const Tensor& t, const Shape& expected) {
  expect_defined(op, name, t);
  if (t.shape() != expected) {
    fail<ShapeError>("{}: {} must be {}; got {}", op, name, expected.str(), describe({{name, t}}));
  }
}

void expect_rank(const char* op, const char* name, const Tensor& t, int expected) {
  expect_defined(op, name, t);
  if (t.rank() != expected) {
    fail<ShapeError>("{}: {} must have rank {}; got {}", op, name, expected, describe({{name, t}}));
  }
}

void expect_dtype(const char* op, const char* name, const Tensor& t, DType expected) {
  expect_defined(op, name, t);
  if (t.dtype() != expected) {
    fail<DTypeError>("{}: {} must be {}; got {}", op, name, name_of(expected),
                     describe({{name, t}}));
  }
}

void expect_floating(const char* op, const char* name, const Tensor& t) {
  expect_defined(op, name, t);
  if (!is_floating(t.dtype())) {
    fail<DTypeError>("{}: {} must be floating; got {}", op, name, describe({{name, t}}));
  }
}

void expect_same_kind(const char* op, std::initializer_list<Named> tensors) {
  const Named* first = nullptr;
  for (const auto& named : tensors) {
    if (!named.tensor.defined()) continue;
    expect_floating(op, named.name, named.tensor);
    if (first == nullptr) first = &named;
    if (named.tensor.dtype() != first->tensor.dtype()) {
      fail<DTypeError>("{}: {} and {} must have one dtype; got {}", op, first->name, named.name,
                       describe({*first, named}));
    }
    if (named.tensor.device() != first->tensor.device()) {
      fail<DeviceError>("{}: {} and {} must be on one device; got {}", op, first->name, named.name,
                        describe({*first, named}));
    }
  }
}

}  // namespace ito
