#include <cmath>

#include "autograd/ops/loss.h"
#include "tests/ops/op_case.h"

namespace ito::optable {

void add_loss_cases(Rows& rows) {
  rows.push_back({
      .name = "mse",
      .inputs = {{"a"}, {"b"}},
      .shapes = {{{2, 3}, {2, 3}}, {{}, {}}, {{1}, {1}}, {{67}, {67}}},
      .op = [](const Tensors& in) { return mse(in[0], in[1]); },
      .reference =
          [](const Arrays& in) {
            Array y(Shape{});
            for (std::size_t i = 0; i < in[0].values.size(); ++i) {
              y.values[0] += std::pow(in[0].values[i] - in[1].values[i], 2);
            }
            y.values[0] /= static_cast<double>(in[0].values.size());
            return y;
          },
      .large = {{71, 1009}, {71, 1009}},
      .emulated_large = {{9, 1009}, {9, 1009}},
      .errors = {throws<ShapeError>("mse: b must be [2, 3]; got b f32[3] on cpu",
                                    [] {
                                      mse(Tensor::zeros({2, 3}), Tensor::zeros({3}));
                                    }),
                 throws<ShapeError>("mse: needs at least one element",
                                    [] { mse(Tensor::zeros({0}), Tensor::zeros({0})); })},
      .benchmarks = {{.shapes = {{64, 32, 32, 3}, {64, 32, 32, 3}}, .flops = 3.0 * 64 * 3072}},
  });
  rows.push_back({
      .name = "cross_entropy",
      .inputs = {{"logits", uniform(-3, 3)}, {"labels", integers(0, 4), Input::Kind::index}},
      .shapes = {{{5, 4}, {5}}, {{1, 4}, {1}}, {{2, 7}, {2}}},
      .op = [](const Tensors& in) { return cross_entropy(in[0], in[1]); },
      .reference =
          [](const Arrays& in) {
            Array y(Shape{});
            for (std::int64_t n = 0; n < in[0].size(0); ++n) {
              double total = 0.0;
              for (std::int64_t c = 0; c < in[0].size(1); ++c) total += std::exp(in[0].at(n, c));
              const auto label = static_cast<std::int64_t>(in[1].at(n));
              y.values[0] -= std::log(std::exp(in[0].at(n, label)) / total);
            }
            y.values[0] /= static_cast<double>(in[0].size(0));
            return y;
          },
      .bf16_tolerance = 2e-3,  // as logsumexp
      .large = {{5003, 11}, {5003}},
      .emulated_large = {{503, 11}, {503}},
      .errors =
          {throws<ShapeError>(
               "cross_entropy: logits must have rank 2",
               [] { cross_entropy(Tensor::zeros({4}), Tensor::zeros({4}, DType::i64)); }),
           throws<ShapeError>(
               "cross_entropy: labels must be [2]; got labels i64[3] on cpu",
               [] {
                 cross_entropy(Tensor::zeros({2, 4}), Tensor::zeros({3}, DType::i64));
               }),
           throws<ShapeError>(
               "cross_entropy: needs at least one row and one class",
               [] {
                 cross_entropy(Tensor::zeros({0, 4}), Tensor::zeros({0}, DType::i64));
               }),
           throws<ValueError>(
               "ids must be in [0, 4); got ids[1] = 4",
               [] {
                 cross_entropy(Tensor::zeros({2, 4}), Tensor::from<std::int64_t>({0, 4}, {2}));
               })},
      .benchmarks = {{.shapes = {{1024, 10}, {1024}}}},
  });
}

}  // namespace ito::optable
