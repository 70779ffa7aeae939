#include <cmath>
#include <limits>

#include "autograd/ops/attention.h"
#include "tests/ops/op_case.h"

namespace ito::optable {
namespace {

// softmax(q k^T / sqrt(d) + mask) v per sample, head and query. in: q, k, v, [mask]
Array attention_of(const Arrays& in, int heads) {
  const Array &q = in[0], &k = in[1], &v = in[2];
  const std::int64_t keys = k.shape[1], d = q.shape[2] / heads;
  Array y(q.shape);
  for_each_index({q.shape[0], q.shape[1], heads}, [&](const std::vector<std::int64_t>& at) {
    const auto n = at[0], l = at[1], first = at[2] * d;
    std::vector<double> weight(static_cast<std::size_t>(keys));
    double total = 0.0;
    for (std::int64_t s = 0; s < keys; ++s) {
      double score = 0.0;
      for (std::int64_t c = first; c < first + d; ++c) score += q.at(n, l, c) * k.at(n, s, c);
      score /= std::sqrt(static_cast<double>(d));
      if (in.size() > 3) score += in[3].shape.rank() == 3 ? in[3].at(n, l, s) : in[3].at(l, s);
      total += weight[static_cast<std::size_t>(s)] = std::exp(score);
    }
    if (total == 0.0) return;  // every key is hidden
    for (std::int64_t s = 0; s < keys; ++s) {
      const double p = weight[static_cast<std::size_t>(s)] / total;
      for (std::int64_t c = first; c < first + d; ++c) y.at(n, l, c) += p * v.at(n, s, c);
    }
  });
  return y;
}

// A third of the keys hidden; for masks with `keys` columns, all of the first row.
Sampler hiding(std::size_t keys) {
  return [keys](Rng& rng, std::vector<double>& values) {
    uniform(-1, 1)(rng, values);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i] < -0.33 || i < keys) values[i] = -std::numeric_limits<double>::infinity();
    }
  };
}

OpCase masked_row(std::string name, int heads, std::vector<Shape> shapes,
                  std::vector<Shape> large) {
  const auto keys = static_cast<std::size_t>(shapes.back()[-1]);
  return {.name = std::move(name),
          .inputs = {{"q"},
                     {"k"},
                     {"v"},
                     {.name = "mask",
                      .sample = hiding(keys),
                      .kind = Input::Kind::constant,
                      .optional = true}},
          .shapes = {std::move(shapes)},
          .op = [=](const Tensors& in) { return attention(in[0], in[1], in[2], heads, in[3]); },
          .reference = [=](const Arrays& in) { return attention_of(in, heads); },
          .large = std::move(large)};
}

void add_attention_errors(OpCase& row) {
  const auto call = [](Shape q, Shape k, Shape v, int heads = 1, Tensor mask = {}) {
    return [=] { attention(Tensor::zeros(q), Tensor::zeros(k), Tensor::zeros(v), heads, mask); };
  };
  row.errors = {
      throws<ShapeError>("attention: heads must divide channels; got q f32[1, 2, 4] on cpu, heads "
                         "= 3",
                         call({1, 2, 4}, {1, 3, 4}, {1, 3, 4}, 3)),
      throws<ShapeError>("attention: heads", call({1, 2, 4}, {1, 3, 4}, {1, 3, 4}, 0)),
      throws<ShapeError>("attention: q must have rank 3", call({2, 4}, {1, 3, 4}, {1, 3, 4})),
      throws<ShapeError>("attention: k must be [1, 3, 4]; got k f32[1, 3, 5] on cpu",
                         call({1, 2, 4}, {1, 3, 5}, {1, 3, 4})),
      throws<ShapeError>("attention: v must be [1, 3, 4]; got v f32[1, 2, 4] on cpu",
                         call({1, 2, 4}, {1, 3, 4}, {1, 2, 4})),
      throws<ShapeError>("attention: mask must be [2, 3]; got mask f32[3, 2] on cpu",
                         call({1, 2, 4}, {1, 3, 4}, {1, 3, 4}, 1, Tensor::zeros({3, 2}))),
      throws<ShapeError>("attention: mask must be [1, 2, 3]",
                         call({1, 2, 4}, {1, 3, 4}, {1, 3, 4}, 1, Tensor::zeros({2, 2, 3}))),
  };
}

}  // namespace

void add_attention_cases(Rows& rows) {
  rows.push_back({
      .name = "attention",
      .inputs = {{"q"}, {"k"}, {"v"}},
      .shapes = {{{2, 3, 2}, {2, 3, 2}, {2, 3, 2}},
                 {{1, 2, 3}, {1, 5, 3}, {1, 5, 3}},
                 {{1, 1, 1}, {1, 2, 1}, {1, 2, 1}},
                 {{0, 2, 3}, {0, 2, 3}, {0, 2, 3}}},
      .op = [](const Tensors& in) { return attention(in[0], in[1], in[2]); },
      .reference = [](const Arrays& in) { return attention_of(in, 1); },
      .large = {{3, 150, 40}, {3, 131, 40}, {3, 131, 40}},
      .emulated_large = {{2, 70, 40}, {2, 67, 40}, {2, 67, 40}},
      .benchmarks = {{.shapes = {{64, 196, 64}, {64, 196, 64}, {64, 196, 64}},
                      .flops = 4.0 * 64 * 196 * 196 * 64},
                     {.shapes = {{8, 256, 256}, {8, 256, 256}, {8, 256, 256}},
                      .flops = 4.0 * 8 * 256 * 256 * 256}},
  });
  // Among few tokens the gradients of q and k are small differences of rounded numbers.
  rows.back().bf16_tolerance = 1e-3;
  add_attention_errors(rows.back());
  rows.push_back({
      .name = "attention, 3 heads",
      .inputs = {{"q"}, {"k"}, {"v"}},
      .shapes = {{{1, 3, 6}, {1, 2, 6}, {1, 2, 6}}, {{2, 2, 3}, {2, 2, 3}, {2, 2, 3}}},
      .op = [](const Tensors& in) { return attention(in[0], in[1], in[2], 3); },
      .reference = [](const Arrays& in) { return attention_of(in, 3); },
      .large = {{3, 150, 63}, {3, 33, 63}, {3, 33, 63}},
      .emulated_large = {{1, 40, 63}, {1, 33, 63}, {1, 33, 63}},
  });
  rows.push_back({
      .name = "attention, wide",
      .inputs = {{"q"}, {"k"}, {"v"}},
      .shapes = {{{1, 75, 34}, {1, 37, 34}, {1, 37, 34}}},
      .op = [](const Tensors& in) { return attention(in[0], in[1], in[2], 2); },
      .reference = [](const Arrays& in) { return attention_of(in, 2); },
      .differentiable = 0,
  });
  rows.push_back(masked_row("attention, mask with a hidden row", 1,
                            {{2, 3, 2}, {2, 4, 2}, {2, 4, 2}, {3, 4}},
                            {{3, 80, 20}, {3, 35, 20}, {3, 35, 20}, {80, 35}}));
  rows.push_back(masked_row("attention, mask per sample, 2 heads", 2,
                            {{2, 2, 4}, {2, 3, 4}, {2, 3, 4}, {2, 2, 3}},
                            {{3, 80, 20}, {3, 35, 20}, {3, 35, 20}, {3, 80, 35}}));
}

}  // namespace ito::optable
