#include <cmath>

#include "autograd/ops/rms_norm.h"
#include "tests/ops/op_case.h"

namespace ito::optable {
namespace {

// Row by row, from the definition.
Array rms_norm_of(const Array& x, const Array& weight) {
  Array y(x.shape);
  const auto n = static_cast<std::size_t>(weight.size(0));
  for (std::size_t row = 0; row < x.values.size(); row += n) {
    double squares = 0.0;
    for (std::size_t i = 0; i < n; ++i) squares += x.values[row + i] * x.values[row + i];
    const double rms = std::sqrt(squares / static_cast<double>(n) + 1e-6);
    for (std::size_t i = 0; i < n; ++i) {
      y.values[row + i] = x.values[row + i] / rms * weight.values[i];
    }
  }
  return y;
}

}  // namespace

void add_rms_norm_cases(Rows& rows) {
  rows.push_back({
      .name = "rms_norm",
      .inputs = {{"x", normal()}, {"weight", uniform(0.5, 1.5)}},
      .shapes = {{{2, 5}, {5}}, {{3, 2, 4}, {4}}, {{7}, {7}}, {{1, 2}, {2}}, {{0, 3}, {3}}},
      .op = [](const Tensors& in) { return rms_norm(in[0], in[1]); },
      .reference = [](const Arrays& in) { return rms_norm_of(in[0], in[1]); },
      .large = {{1500, 67}, {67}},
      .errors = {throws<ShapeError>("rms_norm: weight must be [3]; got weight f32[2] on cpu",
                                    [] {
                                      rms_norm(Tensor::zeros({4, 3}), Tensor::zeros({2}));
                                    }),
                 throws<ShapeError>("rms_norm: x must have channels",
                                    [] { rms_norm(Tensor::scalar(1.0), Tensor::zeros({1})); })},
      .benchmarks = {{.shapes = {{12544, 64}, {64}}, .flops = 4.0 * 12544 * 64}},
  });
}

}  // namespace ito::optable
