// The checks of the op table that compare devices.
#include <fmt/format.h>

#include "autograd/engine.h"
#include "autograd/ops/layout.h"
#include "cuda/emulate/emulate.h"
#include "tensor/build.h"
#include "tests/ops/op_checks.h"
#include "tests/ops/op_runs.h"

namespace ito::optable {
namespace {

// Differentiable inputs as parameters again, after f has made others of them.
template <class F>
Tensors each(const OpCase& row, const Tensors& inputs, F f) {
  Tensors result;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Tensor t = f(inputs[i]);
    result.push_back(row.inputs[i].kind == Input::Kind::differentiable ? parameter(t) : t);
  }
  return result;
}

Tensors widened(const OpCase& row, const Tensors& inputs) {
  return each(row, inputs, [](const Tensor& t) {
    return t.dtype() == DType::bf16 ? cast(detach(t), DType::f64) : t;
  });
}

// The row on `device` against the CPU: f32 against f32 by the mean squared error, bf16 against f64
// on the same rounded inputs. `offset`: how many elements into its storage each input starts.
void compare(Findings& findings, const OpCase& row, const std::vector<Shape>& shapes, DType dtype,
             Device device, std::int64_t offset = 0) {
  const Tensors inputs = make_inputs(row, shapes, dtype);
  const Tensors there = run_both_ways(
      row, each(row, inputs, [&](const Tensor& t) { return shifted(t.to(device), offset); }),
      offset);
  const Tensors here = run_both_ways(row, dtype == DType::bf16 ? widened(row, inputs) : inputs);
  if (there.size() != here.size()) {
    findings.push_back(fmt::format("{}: {} results on {}, {} on the CPU", label(row, shapes),
                                   there.size(), device.str(), here.size()));
    return;
  }
  const double tolerance = dtype == DType::bf16 ? row.bf16_tolerance : 1e-10;
  for (std::size_t k = 0; k < here.size(); ++k) {
    const std::string what = fmt::format("{}: {}{}", label(row, shapes), part(k),
                                         offset == 0 ? "" : " of misaligned inputs");
    if (there[k].device() != device || there[k].shape() != here[k].shape()) {
      findings.push_back(fmt::format("{} must be {} on {}; got {}", what, here[k].shape().str(),
                                     device.str(), there[k].str()));
      continue;
    }
    const double error = normalised_error(to_array(there[k]), to_array(here[k]));
    if (error <= tolerance) continue;
    findings.push_back(fmt::format("{} in {} on {} differs from the CPU by {:.3g}", what,
                                   name_of(dtype), device.str(), error));
  }
}

std::vector<DType> device_dtypes(const OpCase& row) {
  if (!row.no_bf16.empty()) return {DType::f32};
  return {DType::f32, DType::bf16};
}

// Calls f("...") once more, and on the emulated device in other orders of blocks and threads. f
// must wait for its results.
struct OrderScope {
  explicit OrderScope(emulate::Order order) { emulate::set_order(order, 7); }
  ~OrderScope() { emulate::set_order(emulate::Order::forward); }
};
template <class F>
void in_each_order(F f) {
  f("a second time");
  if constexpr (build::emulated) {
    {
      const OrderScope scope(emulate::Order::reversed);
      f("in reversed order");
    }
    const OrderScope scope(emulate::Order::shuffled);
    f("in shuffled order");
  }
}

}  // namespace

Findings check_devices(const OpCase& row) {
  Findings findings;
  for (const Device device : {Device::cpu(), Device::cuda()}) {
    if (!available(device)) continue;
    for (const auto& shapes : with_large_on(device, row)) {
      compare(findings, row, shapes, DType::f32, device);
    }
  }
  return findings;
}

Findings check_bf16(const OpCase& row) {
  Findings findings;
  if (!available(Device::cuda())) return findings;
  if (!row.no_bf16.empty()) return findings;
  for (const auto& shapes : with_large_on(Device::cuda(), row)) {
    compare(findings, row, shapes, DType::bf16, Device::cuda());
  }
  return findings;
}

Findings check_misaligned(const OpCase& row) {
  Findings findings;
  if (!available(Device::cuda())) return findings;
  for (const DType dtype : device_dtypes(row)) {
    for (const auto& shapes : row.shapes) {
      compare(findings, row, shapes, dtype, Device::cuda(), 1);
    }
  }
  return findings;
}

Findings check_repeat(const OpCase& row) {
  Findings findings;
  if (!available(Device::cuda())) return findings;
  for (const DType dtype : device_dtypes(row)) {
    for (const auto& shapes : with_large_on(Device::cuda(), row)) {
      const Tensors inputs = make_inputs(row, shapes, dtype, Device::cuda());
      const Tensors first = run_both_ways(row, inputs);
      in_each_order([&](const char* how) {
        const Tensors results = run_both_ways(row, inputs);
        for (std::size_t k = 0; k < results.size(); ++k) {
          if (same_bits(results[k], first[k])) continue;
          findings.push_back(fmt::format("{}: {} in {} has other bits when run {}",
                                         label(row, shapes), part(k), name_of(dtype), how));
        }
      });
    }
  }
  return findings;
}

}  // namespace ito::optable
