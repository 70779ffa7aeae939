#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/ops/reduce.h"
#include "tests/ops/op_case.h"

namespace ito::optable {
namespace {

using Shapes = std::vector<std::vector<Shape>>;
using Fold = double (*)(const std::vector<double>& group);

// Collects the elements that fall together when `axes` are reduced, and folds each group.
Array reduce_of(const Array& x, std::vector<int> axes, bool keep_dims, Fold fold) {
  const int rank = x.shape.rank();
  std::vector<bool> reduced(static_cast<std::size_t>(rank), axes.empty());
  for (const int axis : axes)
    reduced[static_cast<std::size_t>(axis < 0 ? axis + rank : axis)] = true;
  std::vector<std::int64_t> kept, result;
  for (int d = 0; d < rank; ++d) {
    const bool gone = reduced[static_cast<std::size_t>(d)];
    kept.push_back(gone ? 1 : x.shape[d]);
    if (!gone || keep_dims) result.push_back(kept.back());
  }
  const Shape kept_shape(kept);
  std::vector<std::vector<double>> groups(static_cast<std::size_t>(kept_shape.numel()));
  for_each_index(x.shape, [&](std::vector<std::int64_t> index) {
    const double value = x.values[position(x.shape, index)];
    for (std::size_t d = 0; d < index.size(); ++d) index[d] = reduced[d] ? 0 : index[d];
    groups[position(kept_shape, index)].push_back(value);
  });
  Array y{Shape(result)};
  for (std::size_t i = 0; i < groups.size(); ++i) y.values[i] = fold(groups[i]);
  return y;
}

double sum_of(const std::vector<double>& group) {
  double total = 0.0;
  for (const double v : group) total += v;
  return total;
}
double mean_of(const std::vector<double>& group) {
  return sum_of(group) / static_cast<double>(group.size());
}
double max_of(const std::vector<double>& group) {
  return *std::max_element(group.begin(), group.end());
}
double logsumexp_of(const std::vector<double>& group) {
  double total = 0.0;
  for (const double v : group) total += std::exp(v);
  return std::log(total);
}

using Reduction = Tensor (*)(const Tensor&, std::vector<int>, bool);

OpCase row_of(const char* name, const std::string& variant, Reduction op, Fold fold,
              const std::vector<int>& axes, bool keep_dims, Shapes shapes, const Shape& large,
              const Shape& emulated_large) {
  return {.name = name + variant,
          .inputs = {{"x", distinct(-1, 3)}},  // not symmetric: sums do not cancel to nothing
          .shapes = std::move(shapes),
          .op = [=](const Tensors& in) { return op(in[0], axes, keep_dims); },
          .reference = [=](const Arrays& in) { return reduce_of(in[0], axes, keep_dims, fold); },
          .large = {large},
          .emulated_large = {emulated_large}};
}

// Narrow and wide inner sizes, runs of axes, several chunks: every path of the kernel.
void add(Rows& rows, const char* name, Reduction op, Fold fold, bool of_nothing) {
  const std::string prefix = std::string(name) + ": ";
  Shapes all = {{{2, 3}}, {{}}, {{1}}, {{131}}, {{2, 3, 1, 5}}};
  Shapes first = {{{5, 3}}, {{1, 4}}, {{67, 3}}, {{9, 70}}, {{4}}, {{3, 0}}};
  if (of_nothing) {
    all.push_back({{0, 3}});
    first.push_back({{0, 3}});
  }
  rows.push_back(row_of(name, "", op, fold, {}, false, all, {71, 1009}, {9, 1009}));
  rows.back().errors = {
      throws<ShapeError>(prefix + "axis must be in [-2, 2); got 2",
                         [op] {
                           op(Tensor::zeros({2, 3}), {2}, false);
                         }),
      throws<ShapeError>(prefix + "each axis may be given once; got [1, 1]", [op] {
        op(Tensor::zeros({2, 3}), {1, -1}, false);
      })};
  if (!of_nothing) {
    rows.back().errors.push_back(throws<ShapeError>(prefix + "needs at least one element", [op] {
      op(Tensor::zeros({0, 3}), {0}, false);
    }));
  }
  rows.back().benchmarks = {{.shapes = {{64, 28, 28, 32}}, .flops = 64.0 * 28 * 28 * 32}};
  rows.push_back(row_of(name, ", first axis", op, fold, {0}, false, first, {5003, 17}, {503, 17}));
  rows.back().benchmarks = {{.shapes = {{50176, 32}}, .flops = 50176.0 * 32},
                            {.shapes = {{64, 25088}}, .flops = 64.0 * 25088}};
  rows.push_back(row_of(name, ", last axis kept", op, fold, {-1}, true,
                        {{{5, 3}}, {{2, 1}}, {{2, 70}}, {{0, 3}}}, {3, 70001}, {3, 7001}));
  rows.back().benchmarks = {{.shapes = {{12544, 196}}, .flops = 12544.0 * 196}};
  rows.push_back(row_of(name, ", outer and inner axes", op, fold, {0, 2}, false,
                        {{{2, 3, 4}}, {{2, 3, 2, 2}}, {{3, 1, 1}}}, {30, 40, 90}, {5, 10, 90}));
  rows.push_back(row_of(name, ", neighbouring axes kept", op, fold, {1, 2}, true,
                        {{{2, 3, 2, 3}}, {{1, 2, 2, 1}}}, {4, 40, 40, 33}, {2, 10, 10, 33}));
}

}  // namespace

void add_reduce_cases(Rows& rows) {
  add(rows, "sum", sum, sum_of, true);
  add(rows, "mean", mean, mean_of, false);
  rows.push_back({
      .name = "mean_flat",
      .inputs = {{"x", distinct(-1, 3)}},
      .shapes = {{{2, 3, 4}}, {{5}}, {{3, 2, 2, 2}}},
      .op = [](const Tensors& in) { return mean_flat(in[0]); },
      .reference =
          [](const Arrays& in) {
            std::vector<int> inner;
            for (int d = 1; d < in[0].shape.rank(); ++d) inner.push_back(d);
            return inner.empty() ? in[0] : reduce_of(in[0], inner, false, mean_of);
          },
      .errors = {throws<ShapeError>("mean_flat: x must be [N, ...]",
                                    [] { mean_flat(Tensor::zeros({})); })},
  });
  add(rows, "max", max, max_of, false);
  const std::size_t before = rows.size();
  add(rows, "logsumexp", logsumexp, logsumexp_of, false);
  // The gradient takes e^(x - y) of the rounded y, and x - y is rounded again: for 8 <= |y| < 16
  // each is off by up to 2^-5, together (2 / 32)^2 of the square.
  for (std::size_t i = before; i < rows.size(); ++i) rows[i].bf16_tolerance = 4e-3;
}

}  // namespace ito::optable
