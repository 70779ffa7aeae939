#include <algorithm>
#include <cmath>

#include "autograd/ops/elementwise.h"
#include "tests/ops/op_case.h"

namespace ito::optable {
namespace {

using Shapes = std::vector<std::vector<Shape>>;

const Shapes one = {{{2, 3}}, {{}}, {{1}}, {{17}}, {{3, 1, 5}}, {{0, 3}}};
// Equal, broadcast along the last, first, inner and both sides, a scalar, odd sizes, empty.
const Shapes two = {{{2, 3}, {2, 3}},       {{2, 3}, {3}}, {{3}, {2, 3}}, {{2, 3, 4}, {2, 1, 4}},
                    {{2, 1, 3}, {1, 4, 1}}, {{}, {2, 2}},  {{17}, {17}},  {{1}, {1}},
                    {{0, 3}, {3}}};

OpCase unary(const char* name, Sampler sample, Tensor (*op)(const Tensor&), double (*f)(double),
             double flops_per_element = 1.0) {
  return {.name = name,
          .inputs = {{"x", std::move(sample)}},
          .shapes = one,
          .op = [op](const Tensors& in) { return op(in[0]); },
          .reference =
              [f](const Arrays& in) {
                return broadcast_map(in, [f](const double* x) { return f(x[0]); });
              },
          .large = {{70, 1009}},
          .emulated_large = {{5, 1009}},
          .benchmarks = {{.shapes = {{64, 28, 28, 32}},
                          .flops = flops_per_element * 64 * 28 * 28 * 32}}};
}

OpCase binary(const char* name, Sampler sample_a, Sampler sample_b,
              Tensor (*op)(const Tensor&, const Tensor&), double (*f)(double, double)) {
  const std::string rule = std::string(name) + ": shapes must match or broadcast";
  return {.name = name,
          .inputs = {{"a", std::move(sample_a)}, {"b", std::move(sample_b)}},
          .shapes = two,
          .op = [op](const Tensors& in) { return op(in[0], in[1]); },
          .reference =
              [f](const Arrays& in) {
                return broadcast_map(in, [f](const double* x) { return f(x[0], x[1]); });
              },
          .large = {{70, 1009}, {1009}},
          .emulated_large = {{5, 1009}, {1009}},
          .errors = {throws<ShapeError>(rule,
                                        [op] {
                                          op(Tensor::zeros({2, 3}), Tensor::zeros({2}));
                                        })},
          .benchmarks = {{.shapes = {{64, 28, 28, 32}, {64, 28, 28, 32}}, .flops = 64.0 * 25088},
                         {.shapes = {{64, 28, 28, 32}, {32}}, .flops = 64.0 * 25088}}};
}

// Comparisons: no gradient.
OpCase comparison(const char* name, Tensor (*op)(const Tensor&, const Tensor&),
                  double (*f)(double, double)) {
  OpCase row = binary(name, integers(-2, 3), integers(-2, 3), op, f);
  row.differentiable = 0;
  return row;
}

// A function of x and fixed numbers, given as a lambda.
template <class Op, class F>
OpCase with_numbers(const char* name, Sampler sample, Op op, F f) {
  return {.name = name,
          .inputs = {{"x", std::move(sample)}},
          .shapes = {{{2, 3}}, {{}}, {{17}}, {{0}}},
          .op = [op](const Tensors& in) { return op(in[0]); },
          .reference =
              [f](const Arrays& in) {
                return broadcast_map(in, [f](const double* x) { return f(x[0]); });
              },
          .large = {{70, 1009}},
          .emulated_large = {{5, 1009}}};
}

double sigmoid_of(double x) { return 1.0 / (1.0 + std::exp(-x)); }

void add_binary(Rows& rows) {
  const Sampler any = uniform(-2, 2), positive = uniform(0.3, 2);
  const Sampler not_zero = uniform_avoiding(-2, 2, {0}, 0.3);
  rows.push_back(binary("add", any, any, add, [](double a, double b) { return a + b; }));
  rows.push_back(binary("sub", any, any, sub, [](double a, double b) { return a - b; }));
  rows.push_back(binary("mul", any, any, mul, [](double a, double b) { return a * b; }));
  rows.push_back(binary("div", any, not_zero, div, [](double a, double b) { return a / b; }));
  rows.back().bf16_tolerance = 5e-4;  // a broadcast gradient is a sum whose terms partly cancel
  rows.push_back(
      binary("pow", positive, any, pow, [](double a, double b) { return std::pow(a, b); }));
  rows.back().bf16_tolerance = 5e-4;  // the gradient's exponent b - 1 is rounded
  // Distances between the two samples keep the kink out of reach of the finite difference.
  rows.push_back(binary("maximum", distinct(-2, 2), distinct(-1.9, 2.07), maximum,
                        [](double a, double b) { return std::max(a, b); }));
  rows.push_back(binary("minimum", distinct(-2, 2), distinct(-1.9, 2.07), minimum,
                        [](double a, double b) { return std::min(a, b); }));
  rows.push_back(comparison("equal", equal, [](double a, double b) { return a == b ? 1.0 : 0.0; }));
  rows.push_back(comparison("less", less, [](double a, double b) { return a < b ? 1.0 : 0.0; }));
  rows.push_back(
      comparison("less_equal", less_equal, [](double a, double b) { return a <= b ? 1.0 : 0.0; }));
}

void add_unary(Rows& rows) {
  const Sampler any = uniform(-2, 2), wide = uniform(-6, 6), positive = uniform(0.2, 4);
  const Sampler not_zero = uniform_avoiding(-2, 2, {0});
  rows.push_back(unary("neg", any, neg, [](double x) { return -x; }));
  rows.push_back(unary("abs", not_zero, abs, [](double x) { return std::fabs(x); }));
  rows.push_back(unary(
      "exp", any, exp, [](double x) { return std::exp(x); }, 12));
  rows.push_back(unary(
      "log", positive, log, [](double x) { return std::log(x); }, 12));
  rows.push_back(unary("sqrt", positive, sqrt, [](double x) { return std::sqrt(x); }));
  rows.push_back(unary(
      "rsqrt", positive, rsqrt, [](double x) { return 1.0 / std::sqrt(x); }, 2));
  rows.push_back(unary("square", any, square, [](double x) { return x * x; }));
  rows.push_back(unary(
      "sin", wide, sin, [](double x) { return std::sin(x); }, 12));
  rows.push_back(unary(
      "cos", wide, cos, [](double x) { return std::cos(x); }, 12));
  rows.push_back(unary(
      "tanh", any, tanh, [](double x) { return std::tanh(x); }, 12));
  // 1 - y^2 of the rounded y: at |x| = 2 off by 2 * 2^-9 * 0.96 / 0.07 = 5 %.
  rows.back().bf16_tolerance = 3e-3;
  rows.push_back(unary("sigmoid", wide, sigmoid, sigmoid_of, 14));
  rows.push_back(unary(
      "silu", wide, silu, [](double x) { return x * sigmoid_of(x); }, 15));
  rows.push_back(unary(
      "softplus", wide, softplus, [](double x) { return std::log(1.0 + std::exp(x)); }, 24));
  rows.push_back(unary(
      "erf", any, erf, [](double x) { return std::erf(x); }, 20));
  rows.push_back(unary("relu", not_zero, relu, [](double x) { return x > 0 ? x : 0.0; }));
  rows.push_back(unary(
      "gelu", any, gelu, [](double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }, 20));
}

void add_with_numbers(Rows& rows) {
  const Sampler any = uniform(-2, 2), positive = uniform(0.3, 2);
  const Sampler not_zero = uniform_avoiding(-2, 2, {0}, 0.3);
  rows.push_back(with_numbers(
      "affine", any, [](const Tensor& x) { return affine(x, 3.0, -0.5); },
      [](double x) { return 3.0 * x - 0.5; }));
  rows.push_back(with_numbers(
      "pow, fixed exponent", positive, [](const Tensor& x) { return pow(x, -1.5); },
      [](double x) { return std::pow(x, -1.5); }));
  rows.push_back(with_numbers(
      "pow, cube of negative numbers", any, [](const Tensor& x) { return pow(x, 3.0); },
      [](double x) { return x * x * x; }));
  rows.push_back(with_numbers(
      "clamp", uniform_avoiding(-2, 2, {-1, 0.5}),
      [](const Tensor& x) { return clamp(x, -1.0, 0.5); },
      [](double x) { return x < -1    ? -1.0
                            : x > 0.5 ? 0.5
                                      : x; }));
  rows.back().errors = {throws<ValueError>("clamp: low must be <= high; got [1, 0]",
                                           [] { clamp(Tensor::zeros({2}), 1.0, 0.0); }),
                        throws<ValueError>("clamp: low must be <= high",
                                           [] { clamp(Tensor::zeros({2}), std::nan(""), 0.0); })};
  rows.push_back(with_numbers(
      "scalar operators", not_zero,
      [](const Tensor& x) {
        return 2.0 * x + 1.0 - (0.5 - x) * 3.0 + (x - 4.0) / 8.0 + 2.0 / x + (1.0 + x);
      },
      [](double x) { return 2 * x + 1 - (0.5 - x) * 3 + (x - 4) / 8 + 2 / x + (1 + x); }));
  rows.push_back(with_numbers(
      "scalar comparisons", integers(-2, 3),
      [](const Tensor& x) {
        return (x < 1.0) + 2.0 * (x > 1.0) + 4.0 * (x <= 1.0) + 8.0 * (x >= 1.0);
      },
      [](double x) { return (x < 1) + 2.0 * (x > 1) + 4.0 * (x <= 1) + 8.0 * (x >= 1); }));
  rows.back().differentiable = 0;
}

void add_where(Rows& rows) {
  const auto choose = [](const double* x) { return x[0] != 0 ? x[1] : x[2]; };
  rows.push_back({
      .name = "where",
      .inputs = {{"condition", integers(0, 2), Input::Kind::constant}, {"a"}, {"b"}},
      .shapes = {{{2, 3}, {2, 3}, {2, 3}},
                 {{3}, {2, 1}, {}},
                 {{2, 1, 2}, {3, 1}, {2}},
                 {{17}, {17}, {1}},
                 {{}, {}, {}},
                 {{0, 2}, {2}, {0, 1}}},
      .op = [](const Tensors& in) { return where(in[0], in[1], in[2]); },
      .reference = [choose](const Arrays& in) { return broadcast_map(in, choose); },
      .large = {{70, 1009}, {1009}, {70, 1}},
      .emulated_large = {{5, 1009}, {1009}, {5, 1}},
      .errors = {throws<ShapeError>(
          "where: shapes must match or broadcast",
          [] {
            where(Tensor::zeros({4}), Tensor::zeros({2, 3}), Tensor::zeros({3}));
          })},
      .benchmarks = {{.shapes = {{64, 28, 28, 32}, {64, 28, 28, 32}, {64, 28, 28, 32}}}},
  });
  rows.push_back({
      .name = "where, one side a number",
      .inputs = {{"condition", integers(0, 2), Input::Kind::constant}, {"x"}},
      .shapes = {{{2, 3}, {2, 3}}, {{3}, {2, 1}}},
      .op = [](const Tensors& in) { return where(in[0], in[1], 7.0) + where(in[0], -1.0, in[1]); },
      .reference =
          [](const Arrays& in) {
            return broadcast_map(in, [](const double* x) { return x[1] + (x[0] != 0 ? -1 : 7); });
          },
  });
}

}  // namespace

void add_elementwise_cases(Rows& rows) {
  add_binary(rows);
  add_unary(rows);
  add_with_numbers(rows);
  add_where(rows);
}

}  // namespace ito::optable
