#include <algorithm>
#include <cmath>

#include "autograd/ops/layout.h"
#include "tests/ops/op_case.h"

namespace ito::optable {
namespace {

// y[index] = x[from(index)]
template <class From>
Array moved(const Array& x, const Shape& shape, From from) {
  Array y(shape);
  std::size_t out = 0;
  for_each_index(shape, [&](const std::vector<std::int64_t>& index) {
    y.values[out++] = x.values[position(x.shape, from(index))];
  });
  return y;
}

const Input any_x = {"x", uniform(-2, 2), Input::Kind::differentiable, /*any_dtype=*/true};

void add_reshape(Rows& rows) {
  rows.push_back({
      .name = "reshape",
      .inputs = {any_x},
      .shapes = {{{2, 6}}, {{12}}, {{1, 3, 4}}},
      .op =
          [](const Tensors& in) {
            return reshape(in[0], {3, -1, 2});
          },
      .reference =
          [](const Arrays& in) {
            Array y(Shape{3, 2, 2});
            y.values = in[0].values;
            return y;
          },
      .errors = {throws<ShapeError>("reshape: [4, 2] has 8 elements; got x f32[2, 3] on cpu",
                                    [] {
                                      reshape(Tensor::zeros({2, 3}), Shape{4, 2});
                                    }),
                 throws<ShapeError>(
                     "reshape: [-1, -1] cannot be worked out",
                     [] {
                       reshape(Tensor::zeros({4}), std::vector<std::int64_t>{-1, -1});
                     }),
                 throws<ShapeError>("reshape: [-1, 4] cannot be worked out",
                                    [] {
                                      reshape(Tensor::zeros({6}), std::vector<std::int64_t>{-1, 4});
                                    }),
                 throws<ShapeError>("reshape: [-1, 0] cannot be worked out",
                                    [] {
                                      reshape(Tensor::zeros({0}), std::vector<std::int64_t>{-1, 0});
                                    })},
  });
}

void add_append_dims(Rows& rows) {
  rows.push_back({
      .name = "append_dims",
      .inputs = {{"v", uniform(-2, 2), Input::Kind::differentiable, /*any_dtype=*/true}},
      .shapes = {{{3}}, {{1}}},
      .op =
          [](const Tensors& in) {
            return append_dims(in[0], Tensor::zeros({in[0].defined() ? in[0].size(0) : 1, 4, 5}));
          },
      .reference =
          [](const Arrays& in) {
            Array y(Shape{in[0].shape[0], 1, 1});
            y.values = in[0].values;
            return y;
          },
      .errors = {throws<ShapeError>("append_dims: v must be [3]",
                                    [] {
                                      append_dims(Tensor::zeros({2}), Tensor::zeros({3, 4}));
                                    }),
                 throws<ShapeError>("append_dims: x must be [N, ...]",
                                    [] { append_dims(Tensor::zeros({1}), Tensor::zeros({})); })},
  });
}

void add_permute(Rows& rows, const char* name, const std::vector<int>& order,
                 std::vector<std::vector<Shape>> shapes, const Shape& large,
                 const Shape& emulated_large) {
  rows.push_back({
      .name = name,
      .inputs = {any_x},
      .shapes = std::move(shapes),
      .op = [order](const Tensors& in) { return permute(in[0], order); },
      .reference =
          [order](const Arrays& in) {
            const int rank = in[0].shape.rank();
            std::vector<std::int64_t> sizes;
            for (const int axis : order) sizes.push_back(in[0].shape[axis]);
            return moved(in[0], Shape(sizes), [&](const std::vector<std::int64_t>& index) {
              std::vector<std::int64_t> from(index.size());
              for (std::size_t i = 0; i < order.size(); ++i) {
                from[static_cast<std::size_t>(order[i] < 0 ? order[i] + rank : order[i])] =
                    index[i];
              }
              return from;
            });
          },
      .large = {large},
      .emulated_large = {emulated_large},
  });
}

void add_permutes(Rows& rows) {
  add_permute(rows, "permute, transpose", {1, 0}, {{{2, 3}}, {{1, 5}}, {{35, 34}}, {{0, 3}}},
              {301, 257}, {101, 57});
  rows.back().errors = {
      throws<ShapeError>("permute: order must name each axis once; got [0, 0]",
                         [] {
                           permute(Tensor::zeros({2, 3}), {0, 0});
                         }),
      throws<ShapeError>("permute: order must name each axis once; got [0]",
                         [] {
                           permute(Tensor::zeros({2, 3}), {0});
                         }),
      throws<ShapeError>("permute: order must name each axis once; got [0, 2]", [] {
        permute(Tensor::zeros({2, 3}), {0, 2});
      })};
  rows.back().benchmarks = {{.shapes = {{1024, 1024}}}};
  add_permute(rows, "permute, heads", {0, 2, 1, 3},
              {{{2, 3, 2, 4}}, {{1, 1, 2, 3}}, {{2, 3, 1, 1}}}, {8, 64, 4, 65}, {3, 16, 4, 65});
  rows.back().benchmarks = {{.shapes = {{64, 196, 4, 16}}}};
  add_permute(rows, "permute, channels first", {0, 3, 1, 2}, {{{2, 3, 4, 5}}, {{2, 1, 5, 3}}},
              {4, 33, 31, 17}, {2, 13, 11, 17});
  rows.back().benchmarks = {{.shapes = {{64, 28, 28, 32}}}};
  add_permute(rows, "permute, reversed", {-1, -2, -3}, {{{2, 3, 4}}, {{5, 4, 3}}}, {41, 40, 39},
              {21, 20, 19});
}

// Where a [N, 1, 1, C] tensor is expanded to.
Shape image_shape(const Tensor& x) {
  return x.defined() ? Shape{x.size(0), 28, 28, x.size(3)} : Shape{};
}

void add_expand(Rows& rows) {
  rows.push_back({
      .name = "expand",
      .inputs = {any_x},
      .shapes = {{{2, 1, 3}}, {{3}}, {{1}}, {{}}, {{4, 1}}, {{2, 4, 3}}},
      .op =
          [](const Tensors& in) {
            return expand(in[0], {2, 4, 3});
          },
      .reference =
          [](const Arrays& in) {
            return moved(in[0], {2, 4, 3}, [&](const std::vector<std::int64_t>& index) {
              std::vector<std::int64_t> from(index.end() - in[0].shape.rank(), index.end());
              for (int d = 0; d < in[0].shape.rank(); ++d) {
                if (in[0].shape[d] == 1) from[static_cast<std::size_t>(d)] = 0;
              }
              return from;
            });
          },
      .errors = {throws<ShapeError>("expand: shapes must match or broadcast",
                                    [] { expand(Tensor::zeros({2}), {3}); }),
                 throws<ShapeError>("expand: x must broadcast to [1]; got x f32[2] on cpu",
                                    [] { expand(Tensor::zeros({2}), {1}); }),
                 throws<ShapeError>("expand: x must broadcast to [3]; got x f32[2, 3] on cpu",
                                    [] {
                                      expand(Tensor::zeros({2, 3}), {3});
                                    })},
  });
  rows.push_back({
      .name = "expand to an empty shape",
      .inputs = {any_x},
      .shapes = {{{1, 3}}, {{0, 3}}},
      .op =
          [](const Tensors& in) {
            return expand(in[0], {0, 3});
          },
      .reference =
          [](const Arrays&) {
            return Array(Shape{0, 3});
          },
  });
  rows.push_back({
      .name = "expand, per sample and channel",
      .inputs = {any_x},
      .shapes = {{{2, 1, 1, 3}}},
      .op = [](const Tensors& in) { return expand(in[0], image_shape(in[0])); },
      .reference =
          [](const Arrays& in) {
            return moved(in[0], {in[0].size(0), 28, 28, in[0].size(3)},
                         [](std::vector<std::int64_t> index) {
                           index[1] = index[2] = 0;
                           return index;
                         });
          },
      .large = {{40, 1, 1, 33}},
      .emulated_large = {{2, 1, 1, 33}},
      .benchmarks = {{.shapes = {{64, 1, 1, 32}}, .bytes = 4.0 * 64 * 28 * 28 * 32}},
  });
}

void add_concat(Rows& rows) {
  for (const int axis : {0, 1, -1}) {
    rows.push_back({
        .name = "concat, axis " + std::to_string(axis),
        .inputs = {{"part", uniform(-2, 2), Input::Kind::differentiable, true},
                   {"part", uniform(-2, 2), Input::Kind::differentiable, true}},
        .shapes = {{{2, 3, 2}, {2, 3, 2}}, {{1, 1}, {1, 1}}, {{0, 2}, {0, 2}}},
        .op =
            [axis](const Tensors& in) {
              return concat({in[0], in[1]}, axis);
            },
        .reference =
            [axis](const Arrays& in) {
              const int d = axis < 0 ? axis + in[0].shape.rank() : axis;
              const std::int64_t first = in[0].shape[d];
              Array y(in[0].shape.with(d, first + in[1].shape[d]));
              std::size_t out = 0;
              for_each_index(y.shape, [&](std::vector<std::int64_t> index) {
                auto& i = index[static_cast<std::size_t>(d)];
                const bool second = i >= first;
                if (second) i -= first;
                const Array& x = in[second ? 1 : 0];
                y.values[out++] = x.values[position(x.shape, index)];
              });
              return y;
            },
        .large = {{40, 41, 42}, {40, 41, 42}},
        .emulated_large = {{10, 11, 42}, {10, 11, 42}},
    });
  }
  rows.back().shapes.insert(rows.back().shapes.end(),
                            {{{2, 3}, {2, 1}}, {{2, 0}, {2, 2}}, {{3}, {4}}});
  rows.back().benchmarks = {{.shapes = {{64, 28, 28, 64}, {64, 28, 28, 32}}}};
  rows.back().errors = {
      throws<ValueError>("concat: needs at least one tensor", [] { concat({}); }),
      throws<ShapeError>("concat: axis must be in [-1, 1); got 1",
                         [] {
                           concat({Tensor::zeros({2}), Tensor::zeros({2})}, 1);
                         }),
      throws<ShapeError>(
          "concat: sizes other than axis 1 must be equal; got first f32[2, 3] on cpu",
          [] {
            concat({Tensor::zeros({2, 3}), Tensor::zeros({3, 3})}, 1);
          }),
      throws<ShapeError>("concat: sizes other than axis",
                         [] {
                           concat({Tensor::zeros({2, 3}), Tensor::zeros({2})}, 0);
                         }),
      throws<DTypeError>("concat: parts must have one dtype", [] {
        concat({Tensor::zeros({2}), Tensor::zeros({2}, DType::f64)}, 0);
      })};
}

void add_slice(Rows& rows, int axis, std::int64_t begin, std::int64_t end) {
  rows.push_back({
      .name = "slice, axis " + std::to_string(axis) + " from " + std::to_string(begin),
      .inputs = {any_x},
      .shapes = {{{4, 5}}, {{4, 4, 4}}},
      .op = [=](const Tensors& in) { return slice(in[0], axis, begin, end); },
      .reference =
          [=](const Arrays& in) {
            const int d = axis < 0 ? axis + in[0].shape.rank() : axis;
            const std::int64_t size = in[0].shape[d];
            const std::int64_t b = begin < 0 ? begin + size : begin, e = end < 0 ? end + size : end;
            return moved(in[0], in[0].shape.with(d, e - b), [=](std::vector<std::int64_t> index) {
              index[static_cast<std::size_t>(d)] += b;
              return index;
            });
          },
      .large = {{60, 61, 62}},
      .emulated_large = {{10, 11, 62}},
  });
}

void add_slices(Rows& rows) {
  add_slice(rows, 0, 1, 3);
  add_slice(rows, 1, 2, 2);
  add_slice(rows, -1, 1, 4);
  add_slice(rows, -1, -3, -1);
  rows.back().benchmarks = {{.shapes = {{64, 196, 96}}, .bytes = 8.0 * 64 * 196 * 2}};
  rows.back().errors = {
      throws<ShapeError>("slice: [0, 4) must lie within axis 0; got x f32[3] on cpu",
                         [] { slice(Tensor::zeros({3}), 0, 0, 4); }),
      throws<ShapeError>("slice: [2, 1) must lie within axis 0",
                         [] { slice(Tensor::zeros({3}), 0, 2, 1); }),
      throws<ShapeError>("slice: [-4, 1) must lie within axis 0",
                         [] { slice(Tensor::zeros({3}), 0, -4, 1); }),
      throws<ShapeError>("slice: axis must be in [-1, 1); got 1",
                         [] { slice(Tensor::zeros({3}), 1, 0, 1); })};
}

void add_pad(Rows& rows) {
  rows.push_back({
      .name = "pad",
      .inputs = {any_x},
      .shapes = {{{2, 3}}, {{2, 3, 2}}, {{1, 1}}, {{2, 0}}, {{0, 2}}},
      .op = [](const Tensors& in) { return pad(in[0], 1, 2, 1, 0.5); },
      .reference =
          [](const Arrays& in) {
            const Shape shape = in[0].shape.with(1, in[0].shape[1] + 3);
            Array y(shape);
            std::size_t out = 0;
            for_each_index(shape, [&](std::vector<std::int64_t> index) {
              index[1] -= 2;
              const bool inside = index[1] >= 0 && index[1] < in[0].shape[1];
              y.values[out++] = inside ? in[0].values[position(in[0].shape, index)] : 0.5;
            });
            return y;
          },
      .large = {{60, 31, 62}},
      .emulated_large = {{10, 11, 62}},
      .errors = {throws<ValueError>("pad: before and after must be >= 0; got -1 and 0",
                                    [] { pad(Tensor::zeros({3}), 0, -1, 0); }),
                 throws<ShapeError>("pad: the padded size exceeds 2^63 - 1",
                                    [] { pad(Tensor::zeros({3}), 0, INT64_MAX, 1); }),
                 throws<ShapeError>("pad: axis must be in [-1, 1); got 1",
                                    [] { pad(Tensor::zeros({3}), 1, 0, 0); })},
      .benchmarks = {{.shapes = {{64, 28, 28, 32}}}},
  });
}

}  // namespace

void add_layout_cases(Rows& rows) {
  add_reshape(rows);
  add_append_dims(rows);
  add_permutes(rows);
  add_expand(rows);
  add_concat(rows);
  add_slices(rows);
  add_pad(rows);
  // There and back: the gradient passes through both conversions and rounds to f32 on the way, so
  // only the forward direction is compared here; special_values_test.cpp checks the gradient's
  // dtype.
  rows.push_back({
      .name = "cast",
      .inputs = {any_x},
      .shapes = {{{2, 3}}, {{}}, {{0}}, {{17}}},
      .op = [](const Tensors& in) { return cast(cast(in[0], DType::i64), DType::f64); },
      .reference =
          [](const Arrays& in) {
            return broadcast_map(in, [](const double* x) { return std::trunc(x[0]); });
          },
      .differentiable = 0,
      .large = {{200, 1001}},
      .emulated_large = {{5, 1001}},
      .benchmarks = {{.shapes = {{64, 28, 28, 32}}, .bytes = 28.0 * 64 * 28 * 28 * 32}},
  });
}

}  // namespace ito::optable
