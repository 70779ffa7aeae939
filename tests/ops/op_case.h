// The op table: one record per op, from which its tests and its benchmark are made.
//
// To add an op, write a row in <stem>_cases.cpp, in the function that op_table() calls:
//
//   table.push_back({
//       .name = "mul",
//       .inputs = {{"a", uniform(-2, 2)}, {"b", uniform(-2, 2)}},
//       .shapes = {{{2, 3}, {2, 3}}, {{2, 3}, {3}}, {{0, 3}, {3}}, {{}, {}}},
//       .op = [](const Tensors& in) { return mul(in[0], in[1]); },
//       .reference = [](const Arrays& in) {
//         return broadcast_map(in, [](const double* x) { return x[0] * x[1]; });
//       },
//       .large = {{64, 1000}, {1000}},
//       .errors = {throws<ShapeError>("mul: shapes must match or broadcast",
//                                     [] { mul(Tensor::zeros({2}), Tensor::zeros({3})); })},
//       .benchmarks = {{.shapes = {{64, 28, 28, 32}, {32}}, .flops = 1.6e6}},
//   });
//
// The row is then checked (op_checks.h): forward equals `reference`; gradient and second gradient
// equal central differences; f32 agrees with f64, forward and backward; 1, 2, 3 and 8 threads give
// equal bits; every device agrees with the CPU in f32 and in bf16, misaligned or not, and gives
// equal bits in any order of its threads; an undefined tensor, an integer tensor and each
// entry of `errors` are refused. The reference is written in plain loops on f64, without ito's ops.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "tensor/rng.h"
#include "tensor/tensor.h"

namespace ito::optable {

using Tensors = std::vector<Tensor>;

/// A dense array of f64 for references. at(i, j, ...) takes one index per axis.
struct Array {
  Shape shape;
  std::vector<double> values;

  Array() = default;
  explicit Array(const Shape& s, double value = 0.0)
      : shape(s), values(static_cast<std::size_t>(s.numel()), value) {}

  template <class... I>
  double& at(I... index) {
    return values[offset({static_cast<std::int64_t>(index)...})];
  }
  template <class... I>
  double at(I... index) const {
    return values[offset({static_cast<std::int64_t>(index)...})];
  }
  std::size_t offset(std::initializer_list<std::int64_t> index) const;
  std::int64_t size(int axis) const { return shape[axis]; }
};
using Arrays = std::vector<Array>;

/// Fills values with numbers from rng.
using Sampler = std::function<void(Rng& rng, std::vector<double>& values)>;

Sampler uniform(double low, double high);
Sampler normal();
/// Uniform, but at least `gap` away from each of `points`: for functions with kinks or poles.
Sampler uniform_avoiding(double low, double high, std::vector<double> points, double gap = 0.05);
/// All different, evenly spaced from low to high in random order: no ties, no near ties.
Sampler distinct(double low, double high);
/// Integers in [low, high).
Sampler integers(std::int64_t low, std::int64_t high);

struct Input {
  enum class Kind {
    differentiable,  ///< f32 or f64
    constant,        ///< f32 or f64, without gradient
    index,           ///< i64
  };
  std::string name;
  Sampler sample = uniform(-2, 2);
  Kind kind = Kind::differentiable;
  bool any_dtype = false;  ///< integers are welcome too: no DTypeError is expected
  bool optional = false;   ///< may be undefined: no error is expected
};

/// A call that must throw; made by throws<E>(text, call).
struct ErrorCase {
  std::string type;  ///< for reports
  std::string text;  ///< must occur in what()
  std::function<void()> call;
  std::function<bool(const std::exception&)> is_type;
};
template <class E>
ErrorCase throws(std::string text, std::function<void()> call) {
  return {typeid(E).name(), std::move(text), std::move(call),
          [](const std::exception& e) { return dynamic_cast<const E*>(&e) != nullptr; }};
}

struct Benchmark {
  std::vector<Shape> shapes = {};  ///< one per input
  double flops = 0.0;              ///< arithmetic of the forward pass; 0: only bytes count
  double bytes = 0.0;  ///< moved by the forward pass in f32; 0: inputs and output once each
};

struct OpCase {
  std::string name;  ///< the op, and what is special: "sum, axis 0"
  std::vector<Input> inputs;
  /// Sets of shapes, one shape per input. Small: the gradient costs two evaluations per element.
  /// Odd sizes, size 1, empty, broadcast and rank 0 belong here where the op takes them.
  std::vector<std::vector<Shape>> shapes;
  std::function<Tensor(const Tensors&)> op;
  std::function<Array(const Arrays&)> reference;
  /// How often it differentiates: 0, 1 or 2 (= any number of times).
  int differentiable = 2;
  /// Largest |y - reference| / max(1, |reference|) in f64.
  double f64_tolerance = 1e-12;
  /// Largest |f32 - f64| of the result and of the gradients, relative to the largest element of the
  /// tensor or 0.1, if that is larger.
  double f32_tolerance = 1e-5;
  /// Largest sum of squared differences between bf16 on the device and f64 on the CPU, relative to
  /// the sum of squares, for the result and the gradients. Rounding to bf16 is off by at most 2^-9,
  /// squared and on average 1.3e-6; an op of several kernels rounds between them, and a gradient
  /// after a rounded result.
  double bf16_tolerance = 1e-4;
  /// Why the row is not run in bf16; empty: it is.
  std::string no_bf16 = {};
  /// Shapes that the kernels cut into several chunks (more than about 50,000 elements), for the
  /// comparison of thread counts. Skipped when empty.
  std::vector<Shape> large = {};
  /// The same for the checks on the emulated device, where a thread costs 0.1 us (30 us under
  /// ThreadSanitizer): still several blocks. `large` when empty.
  std::vector<Shape> emulated_large = {};
  std::vector<ErrorCase> errors = {};
  std::vector<Benchmark> benchmarks = {};
};

using Rows = std::vector<OpCase>;
/// Every row. The list of files is in CMakeLists.txt.
const std::vector<OpCase>& op_table();

/// Inputs of a row under one set of shapes; the same for the same seed. Differentiable inputs are
/// parameters. Values are rounded to f32 first, so f32 and f64 inputs are equal.
Tensors make_inputs(const OpCase& row, const std::vector<Shape>& shapes, DType dtype,
                    Device device = Device::cpu(), std::uint64_t seed = 0);

/// A tensor of any dtype as f64.
Array to_array(const Tensor& t);

// ---- tools for references -----------------------------------------------------------------------

/// f(x) for each element, where x[i] is the element of input i under the usual broadcasting.
Array broadcast_map(const Arrays& in, const std::function<double(const double* x)>& f);
/// Calls f(index) for each index of `shape`, in row-major order.
void for_each_index(const Shape& shape,
                    const std::function<void(const std::vector<std::int64_t>&)>& f);
/// Row-major position of an index.
std::size_t position(const Shape& shape, const std::vector<std::int64_t>& index);

}  // namespace ito::optable
