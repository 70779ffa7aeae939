#include <cmath>

#include "autograd/ops/softmax.h"
#include "tests/ops/op_case.h"

namespace ito::optable {
namespace {

// exp(x_i) / sum exp(x_j) along `axis`, straight from the definition.
Array softmax_of(const Array& x, int axis) {
  Array y(x.shape);
  for_each_index(x.shape, [&](std::vector<std::int64_t> index) {
    const double own = std::exp(x.values[position(x.shape, index)]);
    const std::size_t at = position(x.shape, index);
    double total = 0.0;
    for (std::int64_t j = 0; j < x.shape[axis]; ++j) {
      index[static_cast<std::size_t>(axis)] = j;
      total += std::exp(x.values[position(x.shape, index)]);
    }
    y.values[at] = own / total;
  });
  return y;
}

}  // namespace

void add_softmax_cases(Rows& rows) {
  rows.push_back({
      .name = "softmax",
      .inputs = {{"x", uniform(-3, 3)}},
      .shapes = {{{2, 5}}, {{1, 1}}, {{3, 33}}, {{2, 3, 4}}, {{7}}, {{0, 4}}, {{3, 0}}},
      .op = [](const Tensors& in) { return softmax(in[0]); },
      .reference = [](const Arrays& in) { return softmax_of(in[0], in[0].shape.rank() - 1); },
      .large = {{700, 199}},
      .emulated_large = {{20, 199}},
      .errors = {throws<ShapeError>("softmax: axis must be in [-2, 2); got 2",
                                    [] {
                                      softmax(Tensor::zeros({2, 3}), 2);
                                    }),
                 throws<ShapeError>("softmax: axis", [] { softmax(Tensor::scalar(1.0)); })},
      .benchmarks = {{.shapes = {{64, 196, 196}}, .flops = 64.0 * 196 * 196 * 12}},
  });
  rows.push_back({
      .name = "softmax, first axis",
      .inputs = {{"x", uniform(-3, 3)}},
      .shapes = {{{5, 2}}, {{3, 2, 4}}, {{1, 4}}},
      .op = [](const Tensors& in) { return softmax(in[0], 0); },
      .reference = [](const Arrays& in) { return softmax_of(in[0], 0); },
      .large = {{199, 700}},
      .emulated_large = {{99, 70}},
  });
}

}  // namespace ito::optable
