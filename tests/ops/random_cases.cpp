#include "autograd/ops/random.h"
#include "tests/ops/op_case.h"

namespace ito::optable {
namespace {

Rng generator() {
  Rng rng(3, Purpose::dropout);
  rng.seek(5, 2);
  return rng;
}

}  // namespace

void add_random_cases(Rows& rows) {
  rows.push_back({
      .name = "dropout",
      .inputs = {{"x"}},
      .shapes = {{{2, 3}}, {{}}, {{5, 17}}, {{0, 3}}},
      .op =
          [](const Tensors& in) {
            Rng rng = generator();
            return dropout(in[0], 0.3, rng);
          },
      .reference =
          [](const Arrays& in) {
            Rng rng = generator();
            const auto u = rand(rng, in[0].shape).to_vector<float>();
            Array y(in[0].shape);
            for (std::size_t i = 0; i < u.size(); ++i) {
              y.values[i] = u[i] < 0.3f ? 0.0 : in[0].values[i] * static_cast<float>(1.0 / 0.7);
            }
            return y;
          },
      .large = {{71, 1009}},
      .emulated_large = {{5, 1009}},
      .errors = {throws<ValueError>("dropout: p must be in [0, 1); got 1",
                                    [] {
                                      Rng rng = generator();
                                      dropout(Tensor::zeros({2}), 1.0, rng);
                                    }),
                 throws<ValueError>("dropout: p must be in [0, 1); got -0.1",
                                    [] {
                                      Rng rng = generator();
                                      dropout(Tensor::zeros({2}), -0.1, rng);
                                    })},
      .benchmarks = {{.shapes = {{64, 28, 28, 32}}}},
  });
}

}  // namespace ito::optable
