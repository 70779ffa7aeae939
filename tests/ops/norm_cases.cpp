#include <cmath>

#include "autograd/ops/norm.h"
#include "tests/ops/op_case.h"

namespace ito::optable {
namespace {

// (x - mean) / sqrt(var + eps) * weight + bias, group by group, and silu of it. in: x, weight, bias
Array group_norm_of(const Arrays& in, int groups, double eps, bool silu) {
  const Array& x = in[0];
  Array y(x.shape);
  const auto n = static_cast<std::size_t>(x.shape[0]), c = static_cast<std::size_t>(x.shape[-1]);
  if (y.values.empty()) return y;
  const std::size_t positions = y.values.size() / (n * c),
                    width = c / static_cast<std::size_t>(groups);
  for (std::size_t image = 0; image < n; ++image) {
    for (std::size_t first = 0; first < c; first += width) {
      const auto for_group = [&](auto f) {
        for (std::size_t p = 0; p < positions; ++p) {
          for (std::size_t j = first; j < first + width; ++j) f((image * positions + p) * c + j, j);
        }
      };
      const double m = static_cast<double>(positions * width);
      double mean = 0.0, variance = 0.0;
      for_group([&](std::size_t at, std::size_t) { mean += x.values[at] / m; });
      for_group([&](std::size_t at, std::size_t) {
        variance += (x.values[at] - mean) * (x.values[at] - mean) / m;
      });
      for_group([&](std::size_t at, std::size_t j) {
        const double z =
            (x.values[at] - mean) / std::sqrt(variance + eps) * in[1].values[j] + in[2].values[j];
        y.values[at] = silu ? z / (1.0 + std::exp(-z)) : z;
      });
    }
  }
  return y;
}

OpCase norm_row(std::string what, bool silu, int groups, std::vector<Shape> sizes,
                double eps = 1e-6) {
  std::vector<std::vector<Shape>> shapes;
  for (const Shape& x : sizes) shapes.push_back({x, {x[-1]}, {x[-1]}});
  return {.name = (silu ? "group_norm_silu, " : "group_norm, ") + std::move(what),
          .inputs = {{"x"}, {"weight"}, {"bias"}},
          .shapes = shapes,
          .op =
              [=](const Tensors& in) {
                return silu ? group_norm_silu(in[0], groups, in[1], in[2], eps)
                            : group_norm(in[0], groups, in[1], in[2], eps);
              },
          .reference = [=](const Arrays& in) { return group_norm_of(in, groups, eps, silu); }};
}

OpCase concat_row(std::string what, int groups, std::vector<std::vector<Shape>> shapes) {
  return {.name = "group_norm_silu_concat, " + std::move(what),
          .inputs = {{"x"}, {"x2"}, {"weight"}, {"bias"}},
          .shapes = std::move(shapes),
          .op =
              [=](const Tensors& in) {
                return group_norm_silu_concat(in[0], in[1], groups, in[2], in[3]);
              },
          .reference =
              [=](const Arrays& in) {
                const std::int64_t a = in[0].shape[-1], c = a + in[1].shape[-1];
                Array x(in[0].shape.with(-1, c));
                for (std::size_t i = 0; i < x.values.size(); ++i) {
                  const auto row = static_cast<std::int64_t>(i) / c,
                             channel = static_cast<std::int64_t>(i) % c;
                  x.values[i] =
                      channel < a
                          ? in[0].values[static_cast<std::size_t>(row * a + channel)]
                          : in[1].values[static_cast<std::size_t>(row * (c - a) + channel - a)];
                }
                return group_norm_of({x, in[2], in[3]}, groups, 1e-6, true);
              }};
}

void add_norm_of_two(Rows& rows) {
  rows.push_back(
      concat_row("a group with channels of both", 2,
                 {{{2, 3, 2, 2}, {2, 3, 2, 4}, {6}, {6}}, {{1, 4, 5}, {1, 4, 1}, {6}, {6}}}));
  rows.back().large = {{2, 7, 7, 32}, {2, 7, 7, 16}, {48}, {48}};
  const auto call = [](Shape x, Shape x2, Shape weight, int groups) {
    return [=] {
      group_norm_silu_concat(Tensor::zeros(x), Tensor::zeros(x2), groups, Tensor::zeros(weight),
                             Tensor::zeros(weight));
    };
  };
  rows.back().errors = {
      throws<ShapeError>("group_norm_silu_concat: x2 must be [2, 3, 2]; got x2 f32[2, 4, 2] on cpu",
                         call({2, 3, 4}, {2, 4, 2}, {6}, 2)),
      throws<ShapeError>("group_norm_silu_concat: x2 must have rank 3",
                         call({2, 3, 4}, {2, 2}, {6}, 2)),
      throws<ShapeError>("group_norm_silu_concat: weight must be [6]",
                         call({2, 3, 4}, {2, 3, 2}, {4}, 2)),
      throws<ShapeError>("group_norm_silu_concat: groups must divide channels; got x f32[2, 3, 4] "
                         "on cpu, x2 f32[2, 3, 2] on cpu, groups = 4",
                         call({2, 3, 4}, {2, 3, 2}, {6}, 4)),
  };
  rows.push_back(concat_row("groups of one array each", 3, {{{2, 5, 4}, {2, 5, 2}, {6}, {6}}}));
}

void add_norm_errors(OpCase& row) {
  const auto call = [](Shape x, int groups, Shape weight, Shape bias, double eps = 1e-6) {
    return [=] {
      group_norm(Tensor::zeros(x), groups, Tensor::zeros(weight), Tensor::zeros(bias), eps);
    };
  };
  row.errors = {
      throws<ShapeError>("group_norm: groups must divide channels; got x f32[2, 3, 6] on cpu, "
                         "groups = 4",
                         call({2, 3, 6}, 4, {6}, {6})),
      throws<ShapeError>("group_norm: groups must divide channels", call({2, 3, 6}, 0, {6}, {6})),
      throws<ShapeError>("group_norm: weight must be [6]; got weight f32[3] on cpu",
                         call({2, 3, 6}, 2, {3}, {6})),
      throws<ShapeError>("group_norm: bias must be [6]; got bias f32[6, 1] on cpu",
                         call({2, 3, 6}, 2, {6}, {6, 1})),
      throws<ShapeError>("group_norm: x must be [N, ..., C]", call({6}, 2, {6}, {6})),
      throws<ValueError>("group_norm: eps must be >= 0", call({2, 3, 6}, 2, {6}, {6}, -1.0)),
  };
}

}  // namespace

void add_norm_cases(Rows& rows) {
  for (const bool silu : {false, true}) {
    rows.push_back(norm_row("3 groups", silu, 3, {{2, 3, 2, 6}, {1, 4, 3}, {3, 2, 12}, {0, 2, 6}}));
    OpCase& row = rows.back();
    row.large = {{3, 13, 17, 96}, {96}, {96}};
    if (!silu) add_norm_errors(row);
    rows.push_back(norm_row("32 groups", silu, 32, {{2, 3, 32}}));
    const double passes = silu ? 12.0 : 8.0;  // arithmetic per element, about
    for (const Shape& x : {Shape{64, 28, 28, 32}, Shape{64, 14, 14, 64}, Shape{8, 32, 32, 128}}) {
      rows.back().benchmarks.push_back(
          {.shapes = {x, {x[-1]}, {x[-1]}}, .flops = passes * static_cast<double>(x.numel())});
    }
    rows.push_back(norm_row("one group", silu, 1, {{2, 3, 5}, {2, 5}}));
    rows.push_back(norm_row("a group per channel", silu, 4, {{2, 5, 4}}));
    rows.push_back(norm_row("large eps", silu, 2, {{2, 3, 4}}, 0.5));
    rows.push_back(norm_row("wide", silu, 8, {{2, 5, 7, 40}, {2, 67, 8}}));
    rows.back().differentiable = 1;
    // A mean of 50 standard deviations: f32 holds x to 1e-7 of the mean, so 1e-5 of the deviation.
    rows.push_back(norm_row("far from zero", silu, 2, {{2, 40, 6}}));
    rows.back().inputs[0].sample = uniform(28, 30);
    rows.back().differentiable = 0;
    rows.back().f64_tolerance = 1e-11;
    rows.back().f32_tolerance = 5e-5;
  }
  add_norm_of_two(rows);
}

}  // namespace ito::optable
