#include "autograd/gradcheck.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"
#include "tensor/rng.h"

namespace ito {
namespace {

bool is_checked(const Tensor& t) { return t.defined() && t.dtype() == DType::f64; }

void expect_something_to_check(const std::vector<Tensor>& inputs) {
  for (const Tensor& x : inputs) {
    if (is_checked(x)) return;
  }
  fail<DTypeError>("gradcheck: needs at least one f64 input");
}

// Copies, so that the caller's tensors keep their values and history.
std::vector<Tensor> fresh_inputs(const std::vector<Tensor>& inputs) {
  std::vector<Tensor> fresh;
  for (const Tensor& x : inputs) fresh.push_back(is_checked(x) ? parameter(x.clone()) : x);
  return fresh;
}

std::vector<Tensor> checked(const std::vector<Tensor>& inputs) {
  std::vector<Tensor> list;
  for (const Tensor& x : inputs) {
    if (is_checked(x)) list.push_back(x);
  }
  return list;
}

double dot(const std::vector<double>& w, const Tensor& y) {
  const Tensor here = y.to(Device::cpu());
  const double* v = here.data<double>();
  double total = 0.0;
  for (std::size_t i = 0; i < w.size(); ++i) total += w[i] * v[i];
  return total;
}

// x with one element replaced, on any device.
Tensor with_element(const std::vector<double>& values, const Tensor& x, std::size_t i,
                    double value) {
  std::vector<double> changed = values;
  changed[i] = value;
  return Tensor::from(std::span<const double>(changed), x.shape(), x.device());
}

// Keeps the first few differences as text.
class Findings {
 public:
  explicit Findings(const GradcheckOptions& options) : options_(options) {}

  void compare(std::size_t input, const Shape& shape, std::size_t element, double gradient,
               double difference) {
    const double error = std::abs(gradient - difference);
    if (!(error <= result.worst)) result.worst = error;
    if (error <= options_.atol + options_.rtol * std::abs(difference)) return;
    result.ok = false;
    if (++count_ > 5) return;
    result.report += fmt::format("input {} {}, element {}: gradient {:.10g}, difference {:.10g}\n",
                                 input, shape.str(), element, gradient, difference);
  }

  GradcheckResult result;

 private:
  GradcheckOptions options_;
  int count_ = 0;
};

}  // namespace

GradcheckResult gradcheck(const TensorFunction& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options) {
  expect_something_to_check(inputs);
  const std::vector<Tensor> x = fresh_inputs(inputs);
  const Tensor y = f(x);
  expect_dtype("gradcheck", "f(inputs)", y, DType::f64);
  Rng rng(0, Purpose::test);
  const Tensor seed = randn(rng, y.shape(), DType::f64).to(y.device());
  const auto w = seed.to_vector<double>();
  // A result without history is constant: its gradient is zero.
  std::optional<std::vector<Tensor>> gradients;
  if (requires_grad(y)) gradients = grad(y, checked(x), {}, seed);

  Findings findings(options);
  std::size_t number = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!is_checked(x[i])) continue;
    const auto values = x[i].to_vector<double>();
    const auto g = gradients ? (*gradients)[number].to_vector<double>()
                             : std::vector<double>(values.size(), 0.0);
    ++number;
    for (std::size_t e = 0; e < values.size(); ++e) {
      // f may differentiate, so it sees parameters here too.
      std::vector<Tensor> at = x;
      at[i] = parameter(with_element(values, x[i], e, values[e] + options.eps));
      const double above = dot(w, f(at));
      at[i] = parameter(with_element(values, x[i], e, values[e] - options.eps));
      const double below = dot(w, f(at));
      findings.compare(i, x[i].shape(), e, g[e], (above - below) / (2.0 * options.eps));
    }
  }
  return findings.result;
}

GradcheckResult gradcheck_second(const TensorFunction& f, const std::vector<Tensor>& inputs,
                                 const GradcheckOptions& options) {
  expect_something_to_check(inputs);
  const TensorFunction first = [&f](const std::vector<Tensor>& x) {
    Rng rng(1, Purpose::test);
    const Tensor y = f(x);
    Tensor total = Tensor::zeros({}, DType::f64, y.device());
    if (!requires_grad(y)) return total;
    const Tensor seed = randn(rng, y.shape(), DType::f64).to(y.device());
    for (const Tensor& g : grad(y, checked(x), {.create_graph = true}, seed)) {
      total = total + sum(g * randn(rng, g.shape(), DType::f64).to(g.device()));
    }
    return total;
  };
  return gradcheck(first, inputs, options);
}

}  // namespace ito
