// Negative controls: each check of the op table must find the fault that it is for.
#include "tests/ops/op_checks.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "tensor/parallel.h"
#include "tests/devices.h"

using namespace ito;
using namespace ito::optable;

namespace {

// A right row, for each test to break in one place.
OpCase good_row() {
  return {.name = "control",
          .inputs = {{"x", uniform(0.5, 2)}},
          .shapes = {{{2, 3}}, {{}}, {{0}}},
          .op = [](const Tensors& in) { return square(in[0]); },
          .reference =
              [](const Arrays& in) {
                return broadcast_map(in, [](const double* x) { return x[0] * x[0]; });
              },
          .large = {{70000}}};
}

// x^2 whose gradient comes from `rule`.
OpCase with_rule(Tensor (*rule)(const Tensor& x, const Tensor& dy)) {
  OpCase row = good_row();
  row.op = [rule](const Tensors& in) {
    const Tensor x = in[0];
    return record("control", detach(square(x)),
                  {{x, [x, rule](const Tensor& dy) { return rule(x, dy); }}});
  };
  return row;
}

}  // namespace

TEST_CASE("op checks: a right row has no findings") {
  const OpCase row = good_row();
  for (const auto check :
       {check_forward, check_gradient, check_second_gradient, check_precision, check_threads,
        check_devices, check_bf16, check_misaligned, check_repeat, check_errors}) {
    CHECK(check(row).empty());
  }
}

TEST_CASE("op checks: a wrong forward is found, in value and in shape") {
  OpCase row = good_row();
  row.op = [](const Tensors& in) { return square(in[0]) + 1e-9; };
  CHECK(check_forward(row).size() == 2);  // the empty shape has nothing wrong
  row.op = [](const Tensors& in) { return reshape(square(in[0]), Shape{in[0].numel()}); };
  CHECK(check_forward(row).size() == 2);
}

TEST_CASE("op checks: a wrong gradient is found") {
  const OpCase row = with_rule([](const Tensor& x, const Tensor& dy) { return 2.001 * x * dy; });
  CHECK(check_forward(row).empty());
  CHECK(check_gradient(row).size() == 2);
}

TEST_CASE("op checks: a wrong second gradient is found") {
  const OpCase row =
      with_rule([](const Tensor& x, const Tensor& dy) { return 2.0 * detach(x) * dy; });
  CHECK(check_gradient(row).empty());
  CHECK(check_second_gradient(row).size() == 2);
}

TEST_CASE("op checks: lost precision is found, forward and backward") {
  OpCase row = good_row();
  row.op = [](const Tensors& in) {
    // In f32 the sum with 1000 loses digits.
    return affine(affine(in[0], 1.0, 1000.0), 1.0, -1000.0) * in[0];
  };
  CHECK_FALSE(check_precision(row).empty());
  row = with_rule([](const Tensor& x, const Tensor& dy) {
    return affine(affine(2.0 * x * dy, 1.0, 1000.0), 1.0, -1000.0);
  });
  const Findings findings = check_precision(row);
  REQUIRE_FALSE(findings.empty());
  CHECK(findings[0].find("gradient of differentiable input 0") != std::string::npos);
}

TEST_CASE("op checks: a result that depends on the number of threads is found") {
  OpCase row = good_row();
  row.op = [](const Tensors& in) { return in[0] * static_cast<double>(num_threads()); };
  CHECK_FALSE(check_threads(row).empty());
}

TEST_CASE("op checks: a wrong result on the device is found, by value, NaN, place and order") {
  if (!testing::device_answers()) return;
  // Each is right on the CPU and `wrong` on the device.
  const auto device_row = [](std::function<Tensor(const Tensor&)> wrong) {
    OpCase row = good_row();
    row.op = [wrong](const Tensors& in) {
      return in[0].device().is_cpu() ? square(in[0]) : wrong(in[0]);
    };
    return row;
  };
  const OpCase off = device_row([](const Tensor& x) { return square(x) * 1.0001; });
  CHECK_FALSE(check_devices(off).empty());
  const OpCase far_off = device_row([](const Tensor& x) { return square(x) * 1.02; });
  CHECK_FALSE(check_bf16(far_off).empty());
  CHECK_FALSE(check_misaligned(far_off).empty());
  const OpCase unwritten =
      device_row([](const Tensor& x) { return square(x) + log(neg(square(x))); });
  CHECK_FALSE(check_devices(unwritten).empty());
  CHECK_FALSE(check_bf16(unwritten).empty());
  const OpCase here = device_row([](const Tensor& x) { return square(x.to(Device::cpu())); });
  CHECK_FALSE(check_devices(here).empty());
  // Only wrong where the input does not start at a multiple of 16 bytes.
  const OpCase shifted = device_row([](const Tensor& x) {
    const bool aligned = reinterpret_cast<std::uintptr_t>(x.raw()) % 16 == 0;
    return aligned ? square(x) : square(x) * 1.02;
  });
  CHECK(check_devices(shifted).empty());
  CHECK_FALSE(check_misaligned(shifted).empty());
  int runs = 0;
  const OpCase restless =
      device_row([&runs](const Tensor& x) { return square(x) * (1.0 + 1e-6 * ++runs); });
  CHECK(check_devices(restless).empty());
  CHECK_FALSE(check_repeat(restless).empty());
}

TEST_CASE("op checks: errors that do not come, or come otherwise, are found") {
  OpCase row = good_row();
  row.errors = {throws<ShapeError>("anything", [] {})};
  CHECK(check_errors(row).size() == 1);
  row.errors = {throws<ShapeError>("anything", [] { throw ValueError("anything"); })};
  CHECK(check_errors(row).size() == 1);
  row.errors = {throws<ShapeError>("this text", [] { throw ShapeError("another text"); })};
  CHECK(check_errors(row).size() == 1);
  row.errors = {throws<ShapeError>("this", [] { throw ShapeError("this text"); })};
  CHECK(check_errors(row).empty());
  row.op = [](const Tensors& in) { return in[0]; };  // takes integers and undefined tensors
  CHECK(check_errors(row).size() == 2);
}

TEST_CASE("op table: names are unique, and every row has a shape set for each input") {
  std::vector<std::string> names;
  for (const OpCase& row : op_table()) {
    names.push_back(row.name);
    CHECK_MESSAGE(!row.shapes.empty(), row.name);
    for (const auto& shapes : row.shapes)
      CHECK_MESSAGE(shapes.size() == row.inputs.size(), row.name);
    for (const auto& b : row.benchmarks)
      CHECK_MESSAGE(b.shapes.size() == row.inputs.size(), row.name);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  const std::string repeated = twice == names.end() ? "" : *twice;
  CHECK(repeated == "");
}
