#include "tests/ops/op_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autograd/engine.h"
#include "autograd/gradcheck.h"
#include "tests/ops/op_runs.h"
#include "tests/scopes.h"

namespace ito::optable {
namespace {

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

double largest(const Array& a) {
  double m = 0.0;
  for (const double v : a.values) m = std::max(m, std::abs(v));
  return m;
}

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
  const test::ThreadScope scope;
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
