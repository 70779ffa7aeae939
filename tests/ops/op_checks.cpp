#include "tests/ops/op_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autograd/engine.h"
#include "autograd/gradcheck.h"
#include "tensor/parallel.h"

namespace ito::optable {
namespace {

std::string label(const OpCase& row, const std::vector<Shape>& shapes) {
  std::string text = row.name + " ";
  for (const Shape& s : shapes) text += s.str();
  return text;
}

std::vector<std::size_t> differentiable_inputs(const OpCase& row) {
  std::vector<std::size_t> list;
  for (std::size_t i = 0; i < row.inputs.size(); ++i) {
    if (row.inputs[i].kind == Input::Kind::differentiable) list.push_back(i);
  }
  return list;
}

// The row as a function of its differentiable inputs alone.
struct Differentiable {
  std::function<Tensor(const Tensors&)> f;
  Tensors inputs;
};
Differentiable differentiable_part(const OpCase& row, const Tensors& inputs) {
  const auto which = differentiable_inputs(row);
  Tensors mine;
  for (const std::size_t i : which) mine.push_back(inputs[i]);
  return {[&row, inputs, which](const Tensors& in) {
            Tensors all = inputs;
            for (std::size_t k = 0; k < which.size(); ++k) all[which[k]] = in[k];
            return row.op(all);
          },
          mine};
}

// The result and, when the row differentiates, the gradient of each differentiable input for a
// fixed random gradient of the result.
Tensors run_both_ways(const OpCase& row, const Tensors& inputs) {
  Tensors results{row.op(inputs)};
  const Tensor& y = results[0];
  if (row.differentiable == 0 || !requires_grad(y)) return results;
  Tensors wanted;
  for (const std::size_t i : differentiable_inputs(row)) wanted.push_back(inputs[i]);
  Rng rng(7, Purpose::test);
  // Drawn in f32 for both dtypes, so that f32 and f64 see the same numbers.
  const Array drawn = to_array(randn(rng, y.shape(), DType::f32));
  const std::vector<float> narrow(drawn.values.begin(), drawn.values.end());
  const Tensor seed = y.dtype() == DType::f32 ? Tensor::from(narrow, y.shape())
                                              : Tensor::from(drawn.values, y.shape());
  for (Tensor& g : grad(y, wanted, {}, seed.to(y.device()))) results.push_back(std::move(g));
  return results;
}

std::string part(std::size_t i) {
  return i == 0 ? "result" : fmt::format("gradient of differentiable input {}", i - 1);
}

double largest(const Array& a) {
  double m = 0.0;
  for (const double v : a.values) m = std::max(m, std::abs(v));
  return m;
}

// sum (a - b)^2 / sum b^2
double normalised_error(const Array& a, const Array& b) {
  double error = 0.0, scale = 0.0;
  for (std::size_t i = 0; i < a.values.size(); ++i) {
    error += (a.values[i] - b.values[i]) * (a.values[i] - b.values[i]);
    scale += b.values[i] * b.values[i];
  }
  return error == 0.0 ? 0.0 : error / scale;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

std::vector<std::vector<Shape>> with_large(const OpCase& row) {
  auto shapes = row.shapes;
  if (!row.large.empty()) shapes.push_back(row.large);
  return shapes;
}

// Puts the number of threads back when it goes.
struct ThreadScope {
  int before = num_threads();
  ~ThreadScope() { set_num_threads(before); }
};

void expect_throws(Findings& findings, const std::string& what, const ErrorCase& expected) {
  try {
    expected.call();
    findings.push_back(fmt::format("{}: must throw {}", what, expected.type));
  } catch (const std::exception& e) {
    if (!expected.is_type(e)) {
      findings.push_back(fmt::format("{}: must throw {}; threw {}: {}", what, expected.type,
                                     typeid(e).name(), e.what()));
    } else if (std::string(e.what()).find(expected.text) == std::string::npos) {
      findings.push_back(
          fmt::format("{}: the text must contain '{}'; got '{}'", what, expected.text, e.what()));
    }
  }
}

}  // namespace

Findings check_forward(const OpCase& row) {
  Findings findings;
  for (const auto& shapes : row.shapes) {
    const Tensors inputs = make_inputs(row, shapes, DType::f64);
    Arrays arrays;
    for (const Tensor& t : inputs) arrays.push_back(to_array(t));
    const Array wanted = row.reference(arrays);
    const Array got = to_array(row.op(inputs));
    if (got.shape != wanted.shape) {
      findings.push_back(fmt::format("{}: the shape must be {}; got {}", label(row, shapes),
                                     wanted.shape.str(), got.shape.str()));
      continue;
    }
    for (std::size_t i = 0; i < wanted.values.size(); ++i) {
      const double w = wanted.values[i], g = got.values[i];
      if (w == g || (std::isnan(w) && std::isnan(g))) continue;
      if (std::abs(g - w) <= row.f64_tolerance * std::max(1.0, std::abs(w))) continue;
      findings.push_back(
          fmt::format("{}: element {} must be {:.17g}; got {:.17g}", label(row, shapes), i, w, g));
      break;
    }
  }
  return findings;
}

Findings check_gradient(const OpCase& row) {
  Findings findings;
  if (row.differentiable < 1) return findings;
  for (const auto& shapes : row.shapes) {
    const auto part = differentiable_part(row, make_inputs(row, shapes, DType::f64));
    const auto result = gradcheck(part.f, part.inputs);
    if (!result) findings.push_back(label(row, shapes) + ": " + result.report);
  }
  return findings;
}

Findings check_second_gradient(const OpCase& row) {
  Findings findings;
  if (row.differentiable < 2) return findings;
  for (const auto& shapes : row.shapes) {
    const auto part = differentiable_part(row, make_inputs(row, shapes, DType::f64));
    const auto result = gradcheck_second(part.f, part.inputs);
    if (!result) findings.push_back(label(row, shapes) + ": " + result.report);
  }
  return findings;
}

Findings check_precision(const OpCase& row) {
  Findings findings;
  for (const auto& shapes : with_large(row)) {
    const Tensors narrow = run_both_ways(row, make_inputs(row, shapes, DType::f32));
    const Tensors wide = run_both_ways(row, make_inputs(row, shapes, DType::f64));
    for (std::size_t k = 0; k < wide.size(); ++k) {
      const Array a = to_array(narrow[k]), b = to_array(wide[k]);
      // Results that cancel to nothing have no digits to compare, hence the floor.
      const double scale = std::max(largest(b), 0.1);
      for (std::size_t i = 0; i < b.values.size(); ++i) {
        if (std::abs(a.values[i] - b.values[i]) <= row.f32_tolerance * scale) continue;
        findings.push_back(fmt::format("{}: {}, element {}: f32 gives {:.9g}, f64 {:.9g}",
                                       label(row, shapes), part(k), i, a.values[i], b.values[i]));
        break;
      }
    }
  }
  return findings;
}

Findings check_threads(const OpCase& row) {
  Findings findings;
  const ThreadScope scope;
  for (const auto& shapes : with_large(row)) {
    Tensors first;
    for (const int threads : {1, 2, 3, 8}) {
      set_num_threads(threads);
      const Tensors results = run_both_ways(row, make_inputs(row, shapes, DType::f32));
      if (threads == 1) first = results;
      for (std::size_t k = 0; k < results.size(); ++k) {
        if (same_bits(results[k], first[k])) continue;
        findings.push_back(fmt::format("{}: {} with {} threads differs from 1 thread",
                                       label(row, shapes), part(k), threads));
      }
    }
  }
  return findings;
}

Findings check_devices(const OpCase& row) {
  Findings findings;
  for (const Device device : {Device::cpu(), Device::cuda()}) {
    if (!available(device)) continue;
    for (const auto& shapes : row.shapes) {
      const Tensors there = run_both_ways(row, make_inputs(row, shapes, DType::f32, device));
      const Tensors here = run_both_ways(row, make_inputs(row, shapes, DType::f32));
      for (std::size_t k = 0; k < here.size(); ++k) {
        if (there[k].device() != device) {
          findings.push_back(fmt::format("{}: {} must be on {}; got {}", label(row, shapes),
                                         part(k), device.str(), there[k].str()));
          continue;
        }
        const double error = normalised_error(to_array(there[k]), to_array(here[k]));
        if (error <= 1e-10) continue;
        findings.push_back(fmt::format("{}: {} on {} differs from the CPU by {:.3g}",
                                       label(row, shapes), part(k), device.str(), error));
      }
    }
  }
  return findings;
}

Findings check_errors(const OpCase& row) {
  Findings findings;
  for (std::size_t i = 0; i < row.inputs.size(); ++i) {
    const Input& input = row.inputs[i];
    const Tensors good = make_inputs(row, row.shapes.at(0), DType::f32);
    const auto with = [&](Tensor bad) {
      return [&row, good, i, bad] {
        Tensors inputs = good;
        inputs[i] = bad;
        row.op(inputs);
      };
    };
    const auto what = [&](const char* kind) {
      return fmt::format("{}: {} {}", row.name, input.name, kind);
    };
    if (!input.optional) {
      expect_throws(findings, what("undefined"), throws<Error>("must be given", with({})));
    }
    if (input.kind == Input::Kind::index) {
      expect_throws(findings, what("as f32 where i64 is needed"),
                    throws<DTypeError>("must be i64", with(Tensor::zeros(good[i].shape()))));
      continue;
    }
    if (input.any_dtype) continue;
    expect_throws(findings, what("as i64"),
                  throws<DTypeError>("floating", with(Tensor::zeros(good[i].shape(), DType::i64))));
    if (differentiable_inputs(row).size() < 2) continue;
    expect_throws(
        findings, what("as f64 among f32"),
        throws<DTypeError>("one dtype", with(Tensor::zeros(good[i].shape(), DType::f64))));
  }
  for (const ErrorCase& expected : row.errors) {
    expect_throws(findings, fmt::format("{}: bad input for '{}'", row.name, expected.text),
                  expected);
  }
  return findings;
}

}  // namespace ito::optable
