#include "autograd/ops/resample.h"
#include "tests/ops/op_case.h"

namespace ito::optable {
namespace {

Array upsample_of(const Array& x, int factor) {
  Array y({x.shape[0], x.shape[1] * factor, x.shape[2] * factor, x.shape[3]});
  for_each_index(y.shape, [&](const std::vector<std::int64_t>& i) {
    y.at(i[0], i[1], i[2], i[3]) = x.at(i[0], i[1] / factor, i[2] / factor, i[3]);
  });
  return y;
}

Array avg_pool_of(const Array& x, int factor) {
  Array y({x.shape[0], x.shape[1] / factor, x.shape[2] / factor, x.shape[3]});
  for_each_index(x.shape, [&](const std::vector<std::int64_t>& i) {
    y.at(i[0], i[1] / factor, i[2] / factor, i[3]) +=
        x.at(i[0], i[1], i[2], i[3]) / (factor * factor);
  });
  return y;
}

}  // namespace

void add_resample_cases(Rows& rows) {
  for (const int factor : {1, 2, 3}) {
    rows.push_back({
        .name = "upsample_nearest, factor " + std::to_string(factor),
        .inputs = {{"x"}},
        .shapes = {{{2, 2, 3, 2}}, {{1, 1, 1, 1}}, {{1, 3, 2, 5}}, {{0, 2, 2, 1}}},
        .op = [=](const Tensors& in) { return upsample_nearest(in[0], factor); },
        .reference = [=](const Arrays& in) { return upsample_of(in[0], factor); },
        .large = {{3, 20, 21, 19}},
        .emulated_large = {{2, 5, 6, 19}},
        .benchmarks = {{.shapes = {{64, 14, 14, 64}}}},
    });
    rows.push_back({
        .name = "avg_pool, factor " + std::to_string(factor),
        .inputs = {{"x"}},
        .shapes = {{{2, 6, 6, 2}}, {{1, 6, 12, 1}}, {{0, 6, 6, 1}}},
        .op = [=](const Tensors& in) { return avg_pool(in[0], factor); },
        .reference = [=](const Arrays& in) { return avg_pool_of(in[0], factor); },
        .large = {{3, 36, 42, 19}},
        .emulated_large = {{2, 12, 18, 19}},
        .benchmarks = {{.shapes = {{64, 24, 24, 64}}}},
    });
  }
  rows.back().errors = {
      throws<ShapeError>("avg_pool: height and width must be multiples of factor; got x "
                         "f32[1, 5, 4, 1] on cpu, factor = 2",
                         [] {
                           avg_pool(Tensor::zeros({1, 5, 4, 1}), 2);
                         }),
      throws<ValueError>("avg_pool: factor must be >= 1; got 0",
                         [] {
                           avg_pool(Tensor::zeros({1, 4, 4, 1}), 0);
                         }),
      throws<ValueError>("upsample_nearest: factor must be >= 1; got -1",
                         [] {
                           upsample_nearest(Tensor::zeros({1, 4, 4, 1}), -1);
                         }),
      throws<ShapeError>("upsample_nearest: x must have rank 4",
                         [] {
                           upsample_nearest(Tensor::zeros({4, 4, 1}), 2);
                         }),
  };
}

}  // namespace ito::optable
