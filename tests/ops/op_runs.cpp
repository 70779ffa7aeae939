#include "tests/ops/op_runs.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "autograd/engine.h"
#include "autograd/ops/layout.h"
#include "tensor/build.h"

namespace ito::optable {

std::string label(const OpCase& row, const std::vector<Shape>& shapes) {
  std::string text = row.name + " ";
  for (const Shape& s : shapes) text += s.str();
  return text;
}

std::string part(std::size_t i) {
  return i == 0 ? "result" : fmt::format("gradient of differentiable input {}", i - 1);
}

std::vector<std::size_t> differentiable_inputs(const OpCase& row) {
  std::vector<std::size_t> list;
  for (std::size_t i = 0; i < row.inputs.size(); ++i) {
    if (row.inputs[i].kind == Input::Kind::differentiable) list.push_back(i);
  }
  return list;
}

std::vector<std::vector<Shape>> with_large(const OpCase& row) {
  auto shapes = row.shapes;
  if (!row.large.empty()) shapes.push_back(row.large);
  return shapes;
}

std::vector<std::vector<Shape>> with_large_on(Device device, const OpCase& row) {
  auto shapes = with_large(row);
  const bool emulated = build::emulated && device.is_cuda();
  if (emulated && !row.emulated_large.empty()) shapes.back() = row.emulated_large;
  return shapes;
}

Tensor shifted(const Tensor& t, std::int64_t offset) {
  Tensor home = Tensor::zeros({t.numel() + offset}, t.dtype(), t.device());
  Tensor moved = home.view(t.shape(), offset);
  moved.assign(t);
  return moved;
}

Tensors run_both_ways(const OpCase& row, const Tensors& inputs, std::int64_t offset) {
  Tensors results{row.op(inputs)};
  const Tensor& y = results[0];
  if (row.differentiable == 0 || !requires_grad(y)) return results;
  Tensors wanted;
  for (const std::size_t i : differentiable_inputs(row)) wanted.push_back(inputs[i]);
  Rng rng(7, Purpose::test);
  // Rounded to bf16, so that every dtype sees the same numbers.
  const Tensor drawn = cast(randn(rng, y.shape(), DType::f32), DType::bf16);
  const Tensor seed = shifted(cast(drawn, y.dtype()).to(y.device()), offset);
  for (Tensor& g : grad(y, wanted, {}, seed)) results.push_back(std::move(g));
  return results;
}

double normalised_error(const Array& a, const Array& b) {
  double error = 0.0, scale = 0.0;
  for (std::size_t i = 0; i < a.values.size(); ++i) {
    if (a.values[i] == b.values[i] || (std::isnan(a.values[i]) && std::isnan(b.values[i]))) {
      scale += std::isfinite(b.values[i]) ? b.values[i] * b.values[i] : 0.0;
      continue;
    }
    error += (a.values[i] - b.values[i]) * (a.values[i] - b.values[i]);
    scale += b.values[i] * b.values[i];
  }
  return error == 0.0 ? 0.0 : error / scale;
}

}  // namespace ito::optable
