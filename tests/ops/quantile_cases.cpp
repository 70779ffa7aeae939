#include <algorithm>
#include <cmath>

#include "autograd/ops/quantile.h"
#include "tests/ops/op_case.h"

namespace ito::optable {
namespace {

// Sorts each row and goes to position q (n - 1).
Array quantile_of(const Array& x, double q) {
  Array y(x.shape.removed(-1));
  const auto n = static_cast<std::ptrdiff_t>(x.shape[x.shape.rank() - 1]);
  for (std::size_t r = 0; r < y.values.size(); ++r) {
    const auto begin = x.values.begin() + static_cast<std::ptrdiff_t>(r) * n;
    std::vector<double> row(begin, begin + n);
    std::sort(row.begin(), row.end());
    const double position = q * static_cast<double>(n - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, row.size() - 1);
    y.values[r] = row[below] + (position - std::floor(position)) * (row[above] - row[below]);
  }
  return y;
}

OpCase row_of(const std::string& variant, double q, const Sampler& sample) {
  return {.name = "quantile" + variant,
          .inputs = {{"x", sample}},
          .shapes = {{{5}}, {{1}}, {{2}}, {{3, 7}}, {{2, 3, 40}}, {{0, 3}}, {{2, 300}}},
          .op = [q](const Tensors& in) { return quantile(in[0], q); },
          .reference = [q](const Arrays& in) { return quantile_of(in[0], q); },
          .large = {{101, 607}},
          .emulated_large = {{5, 607}}};
}

}  // namespace

void add_quantile_cases(Rows& rows) {
  rows.push_back(row_of("", 0.7, distinct(-1, 3)));  // not symmetric: nothing cancels
  rows.back().errors = {throws<ShapeError>("quantile: rows must have elements; got x f32[2, 0]",
                                           [] {
                                             quantile(Tensor::zeros({2, 0}), 0.5);
                                           }),
                        throws<ValueError>("quantile: q must be in [0, 1]; got 1.5",
                                           [] { quantile(Tensor::zeros({3}), 1.5); })};
  rows.back().benchmarks = {{.shapes = {{64, 784}}, .flops = 64.0 * 784},
                            {.shapes = {{64, 3072}}, .flops = 64.0 * 3072}};
  rows.push_back(row_of(", smallest", 0.0, distinct(-1, 3)));
  rows.push_back(row_of(", largest", 1.0, distinct(-1, 3)));
  // Ties have no gradient to compare with differences: only the values are checked.
  rows.push_back(row_of(", of equal elements", 0.6, integers(-2, 3)));
  rows.back().inputs[0].kind = Input::Kind::constant;
  rows.back().differentiable = 0;
}

}  // namespace ito::optable
