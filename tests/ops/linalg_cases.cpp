#include "autograd/ops/elementwise.h"
#include "autograd/ops/linalg.h"
#include "tests/ops/op_case.h"

namespace ito::optable {
namespace {

// One element of op(a) op(b): the sum over k, from the definition. `batch` are the leading indices.
double element(const Array& a, const Array& b, bool transpose_a, bool transpose_b,
               const std::vector<std::int64_t>& index) {
  const std::vector<std::int64_t> batch(index.begin(), index.end() - 2);
  const std::int64_t i = index[index.size() - 2], j = index.back();
  const auto read = [&](const Array& x, std::int64_t row, std::int64_t column) {
    std::vector<std::int64_t> at = x.shape.rank() == 2 ? std::vector<std::int64_t>{} : batch;
    at.push_back(row);
    at.push_back(column);
    return x.values[position(x.shape, at)];
  };
  double total = 0.0;
  for (std::int64_t k = 0; k < a.shape[transpose_a ? -2 : -1]; ++k) {
    total += (transpose_a ? read(a, k, i) : read(a, i, k)) *
             (transpose_b ? read(b, j, k) : read(b, k, j));
  }
  return total;
}

Array matmul_of(const Arrays& in, bool transpose_a, bool transpose_b) {
  const Array &a = in[0], &b = in[1];
  const Shape& longer = a.shape.rank() >= b.shape.rank() ? a.shape : b.shape;
  Array y(longer.with(-2, a.shape[transpose_a ? -1 : -2]).with(-1, b.shape[transpose_b ? -2 : -1]));
  std::size_t out = 0;
  for_each_index(y.shape, [&](const std::vector<std::int64_t>& index) {
    y.values[out++] = element(a, b, transpose_a, transpose_b, index);
  });
  return y;
}

Shape flipped(const Shape& s, bool flip) { return flip ? s.with(-2, s[-1]).with(-1, s[-2]) : s; }

OpCase matmul_row(bool transpose_a, bool transpose_b) {
  std::vector<std::vector<Shape>> shapes;
  const std::vector<std::vector<Shape>> plain = {{{2, 3}, {3, 4}},
                                                 {{1, 1}, {1, 1}},
                                                 {{5, 7}, {7, 3}},
                                                 {{2, 2, 3}, {2, 3, 2}},
                                                 {{2, 2, 3}, {3, 2}},
                                                 {{2, 3}, {2, 3, 2}},
                                                 {{2, 2, 1, 3}, {2, 2, 3, 1}},
                                                 {{0, 3}, {3, 2}},
                                                 {{2, 0}, {0, 3}},
                                                 {{0, 2, 3}, {3, 2}}};
  for (const auto& s : plain) {
    shapes.push_back({flipped(s[0], transpose_a), flipped(s[1], transpose_b)});
  }
  return {.name = std::string("matmul") + (transpose_a ? ", a transposed" : "") +
                  (transpose_b ? ", b transposed" : ""),
          .inputs = {{"a"}, {"b"}},
          .shapes = shapes,
          .op = [=](const Tensors& in) { return matmul(in[0], in[1], transpose_a, transpose_b); },
          .reference = [=](const Arrays& in) { return matmul_of(in, transpose_a, transpose_b); },
          .large = {flipped({3, 301, 67}, transpose_a), flipped({3, 67, 130}, transpose_b)},
          .benchmarks = {{.shapes = {flipped({512, 512}, transpose_a),
                                     flipped({512, 512}, transpose_b)},
                          .flops = 2.0 * 512 * 512 * 512},
                         {.shapes = {flipped({64, 196, 64}, transpose_a),
                                     flipped({64, 64, 196}, transpose_b)},
                          .flops = 2.0 * 64 * 196 * 196 * 64}}};
}

void add_matmul(Rows& rows) {
  for (const bool transpose_b : {false, true}) {
    for (const bool transpose_a : {false, true})
      rows.push_back(matmul_row(transpose_a, transpose_b));
  }
  rows.back().large = {{70, 5000}, {40, 70}};  // a long sum: [5000, 40]
  rows.back().errors = {
      throws<ShapeError>(
          "matmul: inner sizes must be equal; got a f32[2, 3] on cpu, b f32[2, 3] on "
          "cpu, transpose_a = false, transpose_b = false",
          [] {
            matmul(Tensor::zeros({2, 3}), Tensor::zeros({2, 3}));
          }),
      throws<ShapeError>("matmul: inner sizes must be equal",
                         [] {
                           matmul(Tensor::zeros({2, 3}), Tensor::zeros({3, 2}), true);
                         }),
      throws<ShapeError>("matmul: a and b must have at least two axes",
                         [] {
                           matmul(Tensor::zeros({3}), Tensor::zeros({3, 2}));
                         }),
      throws<ShapeError>("matmul: leading axes must be equal, or one operand a matrix",
                         [] {
                           matmul(Tensor::zeros({2, 2, 3}), Tensor::zeros({3, 3, 2}));
                         }),
      throws<ShapeError>("matmul: leading axes must be equal", [] {
        matmul(Tensor::zeros({2, 2, 2, 3}), Tensor::zeros({2, 3, 2}));
      })};
}

Array linear_of(const Arrays& in) {
  const Array &x = in[0], &w = in[1];
  Array y(x.shape.with(-1, w.shape[0]));
  std::size_t out = 0;
  for_each_index(y.shape, [&](std::vector<std::int64_t> index) {
    const std::int64_t o = index.back();
    double total = in.size() > 2 ? in[2].at(o) : 0.0;
    for (std::int64_t i = 0; i < w.shape[1]; ++i) {
      index.back() = i;
      total += x.values[position(x.shape, index)] * w.at(o, i);
    }
    y.values[out++] = total;
  });
  return y;
}

void add_linear(Rows& rows) {
  rows.push_back({
      .name = "linear",
      .inputs = {{"x"}, {"weight"}, {.name = "bias", .optional = true}},
      .shapes = {{{4, 3}, {2, 3}, {2}},
                 {{3}, {2, 3}, {2}},
                 {{2, 2, 3}, {5, 3}, {5}},
                 {{1, 1}, {1, 1}, {1}},
                 {{0, 3}, {2, 3}, {2}},
                 {{2, 0}, {3, 0}, {3}}},
      .op = [](const Tensors& in) { return linear(in[0], in[1], in[2]); },
      .reference = linear_of,
      .large = {{1501, 67}, {65, 67}, {65}},
      .errors = {throws<ShapeError>(
                     "linear: the last axis of x must be weight's 4; got x f32[2, 3]",
                     [] {
                       linear(Tensor::zeros({2, 3}), Tensor::zeros({5, 4}));
                     }),
                 throws<ShapeError>("linear: weight must have rank 2",
                                    [] {
                                      linear(Tensor::zeros({2, 3}), Tensor::zeros({3}));
                                    }),
                 throws<ShapeError>("linear: the last axis of x",
                                    [] {
                                      linear(Tensor::scalar(1.0), Tensor::zeros({3, 1}));
                                    }),
                 throws<ShapeError>(
                     "linear: bias must be [5]; got bias f32[4] on cpu",
                     [] {
                       linear(Tensor::zeros({2, 3}), Tensor::zeros({5, 3}), Tensor::zeros({4}));
                     })},
      .benchmarks = {{.shapes = {{12544, 64}, {192, 64}, {192}}, .flops = 2.0 * 12544 * 64 * 192}},
  });
  rows.push_back({
      .name = "linear without bias",
      .inputs = {{"x"}, {"weight"}},
      .shapes = {{{4, 3}, {2, 3}}, {{2, 1, 3}, {1, 3}}},
      .op = [](const Tensors& in) { return linear(in[0], in[1]); },
      .reference = linear_of,
  });
}

}  // namespace

void add_linalg_cases(Rows& rows) {
  add_matmul(rows);
  add_linear(rows);
}

}  // namespace ito::optable
