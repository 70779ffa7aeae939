#include <fmt/format.h>

#include "autograd/ops/conv.h"
#include "autograd/ops/layout.h"
#include "tests/ops/op_case.h"

namespace ito::optable {
namespace {

// Calls f(n, p, q, o, h, w, i, r, s) for every product in the sum that defines the convolution of
// x [N, H, W, I] with w [O, kh, kw, I]: y[n, p, q, o] += x[n, h, w, i] weight[o, r, s, i].
template <class F>
void for_products(const Shape& x, const Shape& weight, const Conv2dOptions& c, F f) {
  const Padding& pad = c.padding;
  const std::int64_t rows = (x[1] + pad.top + pad.bottom - weight[1]) / c.stride + 1;
  const std::int64_t columns = (x[2] + pad.left + pad.right - weight[2]) / c.stride + 1;
  for_each_index({x[0], rows, columns, weight[0]}, [&](const std::vector<std::int64_t>& y) {
    for_each_index({weight[1], weight[2], weight[3]}, [&](const std::vector<std::int64_t>& k) {
      const std::int64_t h = y[1] * c.stride + k[0] - pad.top;
      const std::int64_t w = y[2] * c.stride + k[1] - pad.left;
      if (h < 0 || h >= x[1] || w < 0 || w >= x[2]) return;
      f(y[0], y[1], y[2], y[3], h, w, k[2], k[0], k[1]);
    });
  });
}

Shape output_shape(const Shape& x, const Shape& w, const Conv2dOptions& c) {
  const Padding& p = c.padding;
  return {x[0], (x[1] + p.top + p.bottom - w[1]) / c.stride + 1,
          (x[2] + p.left + p.right - w[2]) / c.stride + 1, w[0]};
}

// in: x, weight, [bias, [addend]]
Array conv2d_of(const Arrays& in, const Conv2dOptions& c) {
  const Array &x = in[0], &weight = in[1];
  Array y(output_shape(x.shape, weight.shape, c));
  for_each_index(y.shape, [&](const std::vector<std::int64_t>& at) {
    double& sum = y.values[position(y.shape, at)];
    if (in.size() > 2) sum += in[2].at(at[3]);
    if (in.size() > 3) {
      const bool per_image = in[3].shape != y.shape;
      sum += in[3].at(at[0], per_image ? 0 : at[1], per_image ? 0 : at[2], at[3]);
    }
  });
  for_products(x.shape, weight.shape, c,
               [&](auto n, auto p, auto q, auto o, auto h, auto w, auto i, auto r, auto s) {
                 y.at(n, p, q, o) += x.at(n, h, w, i) * weight.at(o, r, s, i);
               });
  return y;
}

// The sizes that an output of `size` stands for: `extra` rows at the end that a stride leaves over.
std::int64_t input_size(std::int64_t size, std::int64_t kernel, int stride, int pad, int extra) {
  return (size - 1) * stride + kernel - pad + extra;
}

Shape input_shape(const Shape& dy, const Shape& w, const Conv2dOptions& c, int extra) {
  const Padding& p = c.padding;
  return {dy[0], input_size(dy[1], w[1], c.stride, p.top + p.bottom, extra),
          input_size(dy[2], w[2], c.stride, p.left + p.right, extra), w[3]};
}

// in: dy, weight
Array input_grad_of(const Arrays& in, const Conv2dOptions& c, int extra) {
  const Array &dy = in[0], &weight = in[1];
  Array dx(input_shape(dy.shape, weight.shape, c, extra));
  for_products(dx.shape, weight.shape, c,
               [&](auto n, auto p, auto q, auto o, auto h, auto w, auto i, auto r, auto s) {
                 dx.at(n, h, w, i) += dy.at(n, p, q, o) * weight.at(o, r, s, i);
               });
  return dx;
}

Shape weight_shape(const Shape& x, const Shape& dy, const Conv2dOptions& c, int extra) {
  const Padding& p = c.padding;
  return {dy[3], x[1] + p.top + p.bottom - (dy[1] - 1) * c.stride - extra,
          x[2] + p.left + p.right - (dy[2] - 1) * c.stride - extra, x[3]};
}

// in: x, dy
Array weight_grad_of(const Arrays& in, const Conv2dOptions& c, int extra) {
  const Array &x = in[0], &dy = in[1];
  Array dw(weight_shape(x.shape, dy.shape, c, extra));
  for_products(x.shape, dw.shape, c,
               [&](auto n, auto p, auto q, auto o, auto h, auto w, auto i, auto r, auto s) {
                 dw.at(o, r, s, i) += x.at(n, h, w, i) * dy.at(n, p, q, o);
               });
  return dw;
}

// One kind of convolution, and sizes of x and weight to try it with.
struct Geometry {
  std::string name;
  Conv2dOptions options;
  int extra;  // rows and columns of x, at the end, that no output sees
  std::vector<std::pair<Shape, Shape>> sizes;
};

// The three members of the family on one geometry. `wide` rows have many channels, so that blocks
// of channels and tiles of pixels are full and partly filled; they are too large for differences,
// but all three members are compared with their definition.
void add_family(Rows& rows, const Geometry& g, bool wide) {
  std::vector<std::vector<Shape>> forward, input_grad, weight_grad;
  for (const auto& [x, w] : g.sizes) {
    const Shape dy = output_shape(x, w, g.options);
    forward.push_back({x, w, {w[0]}});
    input_grad.push_back({dy, w});
    weight_grad.push_back({x, dy});
  }
  const auto c = g.options;
  const int extra = g.extra;
  rows.push_back({
      .name = "conv2d, " + g.name,
      .inputs = {{"x"}, {"weight"}, {.name = "bias", .optional = true}},
      .shapes = forward,
      .op = [c](const Tensors& in) { return conv2d(in[0], in[1], in[2], c); },
      .reference = [c](const Arrays& in) { return conv2d_of(in, c); },
      .differentiable = wide ? 0 : 2,
  });
  rows.push_back({
      .name = "conv2d_input_grad, " + g.name,
      .inputs = {{"dy"}, {"weight"}},
      .shapes = input_grad,
      .op =
          [c, extra](const Tensors& in) {
            // Bad inputs are tried as well: then any shape will do.
            const bool good = in[0].defined() && in[1].defined();
            const Shape x = good ? input_shape(in[0].shape(), in[1].shape(), c, extra) : Shape{};
            return conv2d_input_grad(in[0], in[1], x, c);
          },
      .reference = [c, extra](const Arrays& in) { return input_grad_of(in, c, extra); },
      .differentiable = wide ? 0 : 2,
  });
  rows.push_back({
      .name = "conv2d_weight_grad, " + g.name,
      .inputs = {{"x"}, {"dy"}},
      .shapes = weight_grad,
      .op =
          [c, extra](const Tensors& in) {
            const bool good = in[0].defined() && in[1].defined();
            const Shape w = good ? weight_shape(in[0].shape(), in[1].shape(), c, extra) : Shape{};
            return conv2d_weight_grad(in[0], in[1], w, c);
          },
      .reference = [c, extra](const Arrays& in) { return weight_grad_of(in, c, extra); },
      .differentiable = wide ? 0 : 2,
  });
}

void add_geometries(Rows& rows) {
  const Padding one = Padding(1), uneven(0, 1, 2, 0);
  const Padding down = Padding::below_and_right(1);
  const std::vector<Geometry> small = {
      {"3x3", {1, one}, 0, {{{1, 3, 4, 1}, {2, 3, 3, 1}}, {{2, 2, 3, 2}, {1, 3, 3, 2}}}},
      {"3x3, stride 2", {2, down}, 0, {{{1, 4, 4, 2}, {2, 3, 3, 2}}, {{2, 2, 2, 1}, {3, 3, 3, 1}}}},
      {"3x2, stride 2, padding uneven", {2, uneven}, 1, {{{1, 5, 3, 2}, {2, 3, 2, 2}}}},
      {"2x2, stride 3", {3, one}, 0, {{{2, 3, 6, 1}, {2, 2, 2, 1}}}},
      {"1x1", {}, 0, {{{2, 2, 3, 3}, {2, 1, 1, 3}}, {{1, 1, 1, 1}, {1, 1, 1, 1}}}},
      {"1x1, stride 2", {2, {}}, 0, {{{1, 3, 3, 2}, {2, 1, 1, 2}}}},
      {"5x5 on 3x3", {1, Padding(2)}, 0, {{{1, 3, 3, 1}, {1, 5, 5, 1}}}},
      {"4x1, padding beyond the kernel", {1, {4, 0, 1, 1}}, 0, {{{1, 2, 2, 1}, {1, 4, 1, 1}}}},
      {"no images", {1, one}, 0, {{{0, 3, 3, 2}, {2, 3, 3, 2}}}}};
  for (const Geometry& g : small) add_family(rows, g, false);

  const std::vector<Geometry> wide = {
      {"wide",
       {1, one},
       0,
       {{{2, 5, 29, 17}, {33, 3, 3, 17}},
        {{9, 4, 4, 16}, {64, 3, 3, 16}},
        {{3, 7, 7, 32}, {3, 3, 3, 32}},
        {{2, 15, 9, 3}, {40, 3, 3, 3}},
        {{1, 2, 2, 70}, {7, 3, 3, 70}}}},
      {"few channels beside many, padding uneven",
       {1, uneven},
       0,
       {{{2, 6, 5, 35}, {2, 2, 3, 35}},
        {{2, 5, 6, 4}, {33, 3, 3, 4}},
        {{1, 2, 1, 17}, {1, 3, 3, 17}}}},
      {"wide, stride 2", {2, down}, 0, {{{2, 14, 30, 15}, {35, 3, 3, 15}}}},
      {"wide, stride 3, 5x4", {3, uneven}, 0, {{{2, 13, 17, 9}, {17, 5, 4, 9}}}},
      {"wide, 1x1", {}, 0, {{{5, 9, 7, 33}, {65, 1, 1, 33}}}}};
  for (const Geometry& g : wide) add_family(rows, g, true);
}

// The shapes of the U-Nets, for benchmarks, and those for the comparison of thread counts.
void add_training_shapes(Rows& rows) {
  struct Layer {
    std::int64_t n, size, in, out;
  };
  const std::vector<Layer> layers = {{64, 28, 1, 32},   {64, 28, 32, 32}, {64, 28, 32, 1},
                                     {64, 14, 64, 64},  {64, 7, 64, 64},  {8, 32, 128, 128},
                                     {8, 16, 256, 256}, {8, 8, 256, 256}, {8, 4, 512, 256}};
  for (OpCase& row : rows) {
    const auto set = [&](const std::string& name, auto shapes_of) {
      if (row.name != name + ", 3x3") return;
      row.large = shapes_of(Shape{3, 14, 14, 37}, Shape{47, 3, 3, 37}, Shape{3, 14, 14, 47});
      for (const auto& [n, size, in, out] : layers) {
        row.benchmarks.push_back(
            {.shapes = shapes_of(Shape{n, size, size, in}, Shape{out, 3, 3, in},
                                 Shape{n, size, size, out}),
             .flops = 2.0 * 9.0 * static_cast<double>(n * size * size * in * out)});
      }
    };
    using Shapes = std::vector<Shape>;
    set("conv2d", [](Shape x, Shape w, Shape) { return Shapes{x, w, {w[0]}}; });
    set("conv2d_input_grad", [](Shape, Shape w, Shape dy) { return Shapes{dy, w}; });
    set("conv2d_weight_grad", [](Shape x, Shape, Shape dy) { return Shapes{x, dy}; });
  }
}

void add_sums(Rows& rows) {
  const Conv2dOptions c{1, Padding(1)};
  for (const bool per_image : {false, true}) {
    const auto addend = [=](const Shape& y) { return per_image ? Shape{y[0], 1, 1, y[3]} : y; };
    rows.push_back({
        .name = std::string("conv2d_add, addend per ") + (per_image ? "image" : "pixel"),
        .inputs = {{"x"},
                   {"weight"},
                   {.name = "bias", .optional = true},
                   {.name = "addend", .optional = true}},
        .shapes = {{{2, 3, 2, 2}, {3, 3, 3, 2}, {3}, addend({2, 3, 2, 3})},
                   {{1, 1, 1, 1}, {1, 3, 3, 1}, {1}, addend({1, 1, 1, 1})}},
        .op = [c](const Tensors& in) { return conv2d_add(in[0], in[1], in[2], in[3], c); },
        .reference = [c](const Arrays& in) { return conv2d_of(in, c); },
        .large = {{3, 14, 14, 37}, {47, 3, 3, 37}, {47}, addend({3, 14, 14, 47})},
        .benchmarks =
            {{.shapes = {{64, 28, 28, 32}, {32, 3, 3, 32}, {32}, addend({64, 28, 28, 32})},
              .flops = 2.0 * 9 * 64 * 28 * 28 * 32 * 32}},
    });
  }
  rows.push_back({
      .name = "conv2d_add, 1x1, addend per pixel",
      .inputs = {{"x"},
                 {"weight"},
                 {.name = "bias", .optional = true},
                 {.name = "addend", .optional = true}},
      .shapes = {{{2, 3, 2, 2}, {3, 1, 1, 2}, {3}, {2, 3, 2, 3}}},
      .op = [](const Tensors& in) { return conv2d_add(in[0], in[1], in[2], in[3]); },
      .reference = [](const Arrays& in) { return conv2d_of(in, {}); },
      .large = {{4, 15, 15, 33}, {34, 1, 1, 33}, {34}, {4, 15, 15, 34}},
  });
}

// in: x, x2, weight, [bias]
Array conv2d_concat_of(const Arrays& in, const Conv2dOptions& c) {
  const std::int64_t a = in[0].shape[3], b = in[1].shape[3];
  Array x({in[0].shape[0], in[0].shape[1], in[0].shape[2], a + b});
  for_each_index(x.shape, [&](const std::vector<std::int64_t>& i) {
    x.at(i[0], i[1], i[2], i[3]) =
        i[3] < a ? in[0].at(i[0], i[1], i[2], i[3]) : in[1].at(i[0], i[1], i[2], i[3] - a);
  });
  Arrays rest{x};
  rest.insert(rest.end(), in.begin() + 2, in.end());
  return conv2d_of(rest, c);
}

void add_conv_of_two(Rows& rows) {
  const Conv2dOptions same{1, Padding(1)};
  const std::vector<std::pair<std::string, Conv2dOptions>> kinds = {
      {"3x3", same}, {"3x3, stride 2", {2, Padding::below_and_right(1)}}};
  for (const auto& [name, options] : kinds) {
    const auto c = options;
    rows.push_back({
        .name = "conv2d_concat, " + name,
        .inputs = {{"x"}, {"x2"}, {"weight"}, {.name = "bias", .optional = true}},
        .shapes = {{{2, 4, 4, 2}, {2, 4, 4, 1}, {2, 3, 3, 3}, {2}},
                   {{1, 2, 3, 1}, {1, 2, 3, 2}, {1, 3, 3, 3}, {1}}},
        .op = [c](const Tensors& in) { return conv2d_concat(in[0], in[1], in[2], in[3], c); },
        .reference = [c](const Arrays& in) { return conv2d_concat_of(in, c); },
    });
  }
  rows.push_back({
      .name = "conv2d_concat, 1x1",
      .inputs = {{"x"}, {"x2"}, {"weight"}, {.name = "bias", .optional = true}},
      .shapes = {{{2, 2, 3, 2}, {2, 2, 3, 1}, {2, 1, 1, 3}, {2}},
                 {{1, 2, 1, 1}, {1, 2, 1, 3}, {1, 1, 1, 4}, {1}}},
      .op = [](const Tensors& in) { return conv2d_concat(in[0], in[1], in[2], in[3]); },
      .reference = [](const Arrays& in) { return conv2d_concat_of(in, {}); },
      .large = {{4, 15, 15, 33}, {4, 15, 15, 20}, {34, 1, 1, 53}, {34}},
  });
  rows.push_back({
      .name = "conv2d_concat, wide 1x1",
      .inputs = {{"x"}, {"x2"}, {"weight"}, {.name = "bias", .optional = true}},
      .shapes = {{{2, 3, 5, 16}, {2, 3, 5, 40}, {24, 1, 1, 56}, {24}},
                 {{1, 4, 4, 9}, {1, 4, 4, 8}, {5, 1, 1, 17}, {5}}},
      .op = [](const Tensors& in) { return conv2d_concat(in[0], in[1], in[2], in[3]); },
      .reference = [](const Arrays& in) { return conv2d_concat_of(in, {}); },
      .differentiable = 0,
      .errors = {throws<ShapeError>("conv2d_concat: x2 must be [1, 4, 4, 1]",
                                    [] {
                                      conv2d_concat(Tensor::zeros({1, 4, 4, 2}),
                                                    Tensor::zeros({1, 4, 3, 1}),
                                                    Tensor::zeros({1, 1, 1, 3}));
                                    }),
                 throws<ShapeError>("conv2d_concat: images and weight must have the same input "
                                    "channels; got [1, 4, 4, 3] and [1, 1, 1, 2]",
                                    [] {
                                      conv2d_concat(Tensor::zeros({1, 4, 4, 2}),
                                                    Tensor::zeros({1, 4, 4, 1}),
                                                    Tensor::zeros({1, 1, 1, 2}));
                                    })},
  });
}

void add_conv_errors(OpCase& forward) {
  const auto call = [](Shape x, Shape w, Conv2dOptions c = {}, Tensor bias = {}) {
    return [=] { conv2d(Tensor::zeros(x), Tensor::zeros(w), bias, c); };
  };
  forward.errors = {
      throws<ShapeError>("conv2d: images and weight must have the same input channels; got "
                         "[1, 4, 4, 2] and [3, 3, 3, 1]",
                         call({1, 4, 4, 2}, {3, 3, 3, 1})),
      throws<ShapeError>("conv2d: the kernel must fit in the padded image; got kernel size 3, "
                         "image size 2 padded by 0 and 0",
                         call({1, 2, 2, 1}, {1, 3, 3, 1})),
      throws<ShapeError>("conv2d: x must have rank 4", call({4, 4, 2}, {3, 3, 3, 2})),
      throws<ShapeError>("conv2d: weight must have rank 4", call({1, 4, 4, 2}, {3, 2})),
      throws<ShapeError>("conv2d: bias must be [3]; got bias f32[2] on cpu",
                         call({1, 4, 4, 2}, {3, 3, 3, 2}, {}, Tensor::zeros({2}))),
      throws<ValueError>("conv2d: stride must be >= 1; got 0",
                         call({1, 4, 4, 2}, {3, 3, 3, 2}, {0, {}})),
      throws<ValueError>("conv2d: padding must be >= 0; got top 0, bottom -1",
                         call({1, 4, 4, 2}, {3, 3, 3, 2}, {1, {0, -1, 0, 0}})),
      throws<ShapeError>("conv2d: addend must be [1, 2, 2, 3]",
                         [] {
                           conv2d_add(Tensor::zeros({1, 4, 4, 2}), Tensor::zeros({3, 3, 3, 2}), {},
                                      Tensor::zeros({1, 2, 1, 3}));
                         }),
      throws<ShapeError>("conv2d_input_grad: dy must be [1, 2, 2, 3]",
                         [] {
                           conv2d_input_grad(Tensor::zeros({1, 3, 2, 3}),
                                             Tensor::zeros({3, 3, 3, 2}), {1, 4, 4, 2});
                         }),
      throws<ShapeError>("conv2d_weight_grad: dy must be [1, 2, 2, 3]",
                         [] {
                           conv2d_weight_grad(Tensor::zeros({1, 4, 4, 2}),
                                              Tensor::zeros({1, 2, 3, 3}), {3, 3, 3, 2});
                         }),
  };
}

}  // namespace

void add_conv_cases(Rows& rows) {
  Rows mine;
  add_geometries(mine);
  add_training_shapes(mine);
  add_sums(mine);
  add_conv_of_two(mine);
  add_conv_errors(mine.front());
  rows.insert(rows.end(), mine.begin(), mine.end());
}

}  // namespace ito::optable
