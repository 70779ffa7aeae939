#include "autograd/ops/indexing.h"
#include "tests/ops/op_case.h"

namespace ito::optable {
namespace {

Tensor ids_of(std::initializer_list<std::int64_t> ids) {
  return Tensor::from(ids, {static_cast<std::int64_t>(ids.size())});
}

Array gather_of(const Arrays& in) {
  auto sizes = in[1].shape.to_vector();
  const Shape row = in[0].shape.removed(0);
  sizes.insert(sizes.end(), row.begin(), row.end());
  Array y{Shape(sizes)};
  const auto width = static_cast<std::size_t>(row.numel());
  for (std::size_t i = 0; i < in[1].values.size(); ++i) {
    for (std::size_t c = 0; c < width; ++c) {
      y.values[i * width + c] = in[0].values[static_cast<std::size_t>(in[1].values[i]) * width + c];
    }
  }
  return y;
}

}  // namespace

void add_indexing_cases(Rows& rows) {
  const Input ids = {"ids", integers(0, 4), Input::Kind::index};
  rows.push_back({
      .name = "gather",
      .inputs = {{"table", uniform(-2, 2), Input::Kind::differentiable, true}, ids},
      .shapes = {{{4, 3}, {5}}, {{4}, {2, 3}}, {{5, 2, 2}, {}}, {{4, 3}, {0}}, {{4, 0}, {2}}},
      .op = [](const Tensors& in) { return gather(in[0], in[1]); },
      .reference = gather_of,
      .large = {{10, 40}, {2003}},
      .emulated_large = {{10, 40}, {103}},
      .errors =
          {throws<ValueError>(
               "gather: ids must be in [0, 4); got ids[1] = 4 (flat index), ids i64[3] on cpu",
               [] {
                 gather(Tensor::zeros({4, 2}), ids_of({0, 4, 9}));
               }),
           throws<ValueError>("gather: ids must be in [0, 4); got ids[0] = -1",
                              [] {
                                gather(Tensor::zeros({4, 2}), ids_of({-1}));
                              }),
           throws<ShapeError>("gather: table must have at least one axis",
                              [] { gather(Tensor::scalar(1.0), ids_of({0})); })},
      .benchmarks = {{.shapes = {{1000, 128}, {4096}}, .bytes = 8.0 * 4096 * 128}},
  });
  rows.push_back({
      .name = "embedding",
      .inputs = {{"table", uniform(-2, 2), Input::Kind::differentiable, true}, ids},
      .shapes = {{{4, 3}, {5}}, {{4, 1}, {1}}},
      .op = [](const Tensors& in) { return embedding(in[0], in[1]); },
      .reference = gather_of,
      .errors = {throws<ShapeError>("embedding: table must have rank 2",
                                    [] { embedding(Tensor::zeros({4}), ids_of({0})); }),
                 throws<ValueError>("embedding: ids must be in [0, 4)",
                                    [] {
                                      embedding(Tensor::zeros({4, 2}), ids_of({4}));
                                    })},
  });
  rows.push_back({
      .name = "one_hot",
      .inputs = {ids},
      .shapes = {{{5}}, {{2, 3}}, {{}}, {{0}}},
      .op = [](const Tensors& in) { return one_hot(in[0], 4); },
      .reference =
          [](const Arrays& in) {
            Array y(in[0].shape.inserted(in[0].shape.rank(), 4));
            for (std::size_t i = 0; i < in[0].values.size(); ++i) {
              y.values[4 * i + static_cast<std::size_t>(in[0].values[i])] = 1.0;
            }
            return y;
          },
      .differentiable = 0,
      .large = {{20011}},
      .emulated_large = {{311}},
      .errors = {throws<ValueError>("one_hot: ids must be in [0, 2); got ids[0] = 2",
                                    [] { one_hot(ids_of({2}), 2); }),
                 throws<ValueError>("one_hot: classes must be >= 0; got -1",
                                    [] { one_hot(ids_of({}), -1); }),
                 throws<DTypeError>("one_hot: the CPU computes in f32 and f64; got u8",
                                    [] { one_hot(ids_of({0}), 2, DType::u8); })},
  });
}

}  // namespace ito::optable
