#include <fmt/format.h>

#include "autograd/ops/conv_upsample.h"
#include "tests/ops/op_case.h"

namespace ito::optable {
namespace {

// in: x, weight, [bias]. Each output pixel walks over the upsampled image, which is x at a
// quotient.
Array upsample_conv2d_of(const Arrays& in, int factor, const Padding& pad) {
  const Array &x = in[0], &weight = in[1];
  const std::int64_t h = x.shape[1] * factor, w = x.shape[2] * factor;
  Array y({x.shape[0], h + pad.top + pad.bottom - weight.shape[1] + 1,
           w + pad.left + pad.right - weight.shape[2] + 1, weight.shape[0]});
  for_each_index(y.shape, [&](const std::vector<std::int64_t>& at) {
    double sum = in.size() > 2 ? in[2].at(at[3]) : 0.0;
    for_each_index({weight.shape[1], weight.shape[2], weight.shape[3]},
                   [&](const std::vector<std::int64_t>& k) {
                     const std::int64_t row = at[1] + k[0] - pad.top;
                     const std::int64_t column = at[2] + k[1] - pad.left;
                     if (row < 0 || row >= h || column < 0 || column >= w) return;
                     sum += x.at(at[0], row / factor, column / factor, k[2]) *
                            weight.at(at[3], k[0], k[1], k[2]);
                   });
    y.values[position(y.shape, at)] = sum;
  });
  return y;
}

// Calls f(o, r, s, i, r', s') for each weight [o, r, s, i] in the sum folded [i, r', s', o].
template <class F>
void for_folds(const Shape& weight, int factor, F f) {
  for_each_index(weight, [&](const std::vector<std::int64_t>& w) {
    for (std::int64_t e = 0; e < factor; ++e) {
      for (std::int64_t d = 0; d < factor; ++d) {
        f(w[0], w[1], w[2], w[3], e + weight[1] - 1 - w[1], d + weight[2] - 1 - w[2]);
      }
    }
  });
}

Array fold_of(const Array& weight, int factor) {
  const Shape& s = weight.shape;
  Array folded({s[3], s[1] + factor - 1, s[2] + factor - 1, s[0]});
  for_folds(s, factor, [&](auto o, auto r, auto c, auto i, auto row, auto column) {
    folded.at(i, row, column, o) += weight.at(o, r, c, i);
  });
  return folded;
}

Array fold_grad_of(const Array& dfolded, int factor) {
  const Shape& s = dfolded.shape;
  Array dweight({s[3], s[1] - factor + 1, s[2] - factor + 1, s[0]});
  for_folds(dweight.shape, factor, [&](auto o, auto r, auto c, auto i, auto row, auto column) {
    dweight.at(o, r, c, i) += dfolded.at(i, row, column, o);
  });
  return dweight;
}

void add_conv_upsample_errors(OpCase& row) {
  const auto call = [](Shape x, Shape w, int factor = 2, Padding padding = {}, Tensor bias = {}) {
    return [=] { upsample_conv2d(Tensor::zeros(x), Tensor::zeros(w), bias, factor, padding); };
  };
  row.errors = {
      throws<ShapeError>("upsample_conv2d: images and weight must have the same input channels; "
                         "got [1, 2, 2, 2] and [3, 3, 3, 1]",
                         call({1, 2, 2, 2}, {3, 3, 3, 1})),
      throws<ShapeError>("upsample_conv2d: the kernel must fit in the padded, upsampled image",
                         call({1, 1, 2, 1}, {1, 3, 3, 1})),
      throws<ShapeError>("upsample_conv2d: x must have rank 4", call({2, 2, 1}, {1, 1, 1, 1})),
      throws<ShapeError>("upsample_conv2d: bias must be [3]",
                         call({1, 2, 2, 1}, {3, 1, 1, 1}, 2, {}, Tensor::zeros({2}))),
      throws<ValueError>("upsample_conv2d: factor must be >= 1; got 0",
                         call({1, 2, 2, 1}, {1, 1, 1, 1}, 0)),
      throws<ValueError>("upsample_conv2d: padding must be >= 0 and smaller than the kernel; got "
                         "top 1, bottom 0",
                         call({1, 2, 2, 1}, {1, 1, 1, 1}, 2, {1, 0, 0, 0})),
      throws<ShapeError>("fold_upsampling_grad: folded kernels have at least factor rows",
                         [] {
                           fold_upsampling_grad(Tensor::zeros({1, 1, 2, 1}), 2);
                         }),
  };
}

}  // namespace

void add_conv_upsample_cases(Rows& rows) {
  struct Geometry {
    std::string name;
    int factor;
    Padding padding;
    std::vector<std::vector<Shape>> shapes;  // x, weight, bias
  };
  const Padding one = Padding(1);
  const std::vector<Geometry> geometries = {
      {"3x3", 2, one, {{{2, 2, 3, 2}, {3, 3, 3, 2}, {3}}, {{1, 1, 1, 1}, {1, 3, 3, 1}, {1}}}},
      {"3x3, no padding", 2, {}, {{{1, 2, 3, 2}, {2, 3, 3, 2}, {2}}}},
      {"3x3, factor 1", 1, one, {{{1, 3, 2, 2}, {2, 3, 3, 2}, {2}}}},
      {"3x2, factor 3, padding uneven", 3, {0, 2, 1, 0}, {{{1, 2, 1, 2}, {2, 3, 2, 2}, {2}}}},
      {"1x1", 2, {}, {{{1, 2, 2, 3}, {2, 1, 1, 3}, {2}}}},
      {"no images", 2, one, {{{0, 2, 2, 1}, {2, 3, 3, 1}, {2}}}}};
  const std::size_t first = rows.size();
  for (const Geometry& g : geometries) {
    rows.push_back({
        .name = "upsample_conv2d, " + g.name,
        .inputs = {{"x"}, {"weight"}, {.name = "bias", .optional = true}},
        .shapes = g.shapes,
        .op =
            [g](const Tensors& in) {
              return upsample_conv2d(in[0], in[1], in[2], g.factor, g.padding);
            },
        .reference = [g](const Arrays& in) { return upsample_conv2d_of(in, g.factor, g.padding); },
    });
  }
  OpCase& front = rows[first];
  add_conv_upsample_errors(front);
  front.large = {{3, 7, 7, 37}, {47, 3, 3, 37}, {47}};
  front.benchmarks = {
      {.shapes = {{64, 7, 7, 64}, {64, 3, 3, 64}, {64}}, .flops = 2.0 * 4 * 64 * 14 * 14 * 64 * 64},
      {.shapes = {{8, 16, 16, 256}, {256, 3, 3, 256}, {256}},
       .flops = 2.0 * 4 * 8 * 32 * 32 * 256 * 256}};
  for (const int factor : {1, 2, 3}) {
    rows.push_back({
        .name = fmt::format("fold_upsampling, factor {}", factor),
        .inputs = {{"weight"}},
        .shapes = {{{2, 3, 3, 3}}, {{1, 1, 2, 1}}, {{0, 3, 3, 1}}, {{35, 1, 1, 33}}},
        .op = [=](const Tensors& in) { return fold_upsampling(in[0], factor); },
        .reference = [=](const Arrays& in) { return fold_of(in[0], factor); },
    });
    rows.push_back({
        .name = fmt::format("fold_upsampling_grad, factor {}", factor),
        .inputs = {{"dfolded"}},
        .shapes = {{{2, 4, 5, 3}}, {{1, 3, 3, 1}}},
        .op = [=](const Tensors& in) { return fold_upsampling_grad(in[0], factor); },
        .reference = [=](const Arrays& in) { return fold_grad_of(in[0], factor); },
    });
  }
}

}  // namespace ito::optable
