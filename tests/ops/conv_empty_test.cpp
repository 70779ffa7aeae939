// Convolutions whose image, channels or batch are empty, by every algorithm: the sums are empty, so
// y is the bias and the gradients are zero. Kernels that cut their work by sizes must not divide by
// these.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "autograd/engine.h"
#include "autograd/ops/conv.h"
#include "autograd/ops/conv_upsample.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"
#include "tensor/kernels/conv_plan.h"
#include "tests/compare.h"

using namespace ito;
using kernel::ConvAlgorithm;

namespace {

struct Layer {
  Shape x, weight;
  Conv2dOptions options = {};
};

// The largest difference of y from the bias, and the largest element of the gradients to x and
// weight.
double error_of(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& b) {
  const std::vector<Tensor> gradients =
      grad(y, std::vector<Tensor>{x, w, b}, {}, Tensor::full(y.shape(), 1.0, y.dtype()));
  REQUIRE(gradients[0].shape() == x.shape());
  REQUIRE(gradients[1].shape() == w.shape());
  const auto largest = [](const Tensor& t) { return t.numel() == 0 ? 0.0 : max(abs(t)).item(); };
  const Tensor expected = Tensor::full(y.shape(), 3.0, y.dtype());
  return std::max({largest(detach(y) - expected), largest(gradients[0]), largest(gradients[1])});
}

}  // namespace

TEST_CASE("conv2d: of empty images and of no channels y is the bias, by every algorithm") {
  const Padding one = Padding(1), two = Padding(2);
  const Layer layers[] = {{{2, 3, 0, 64}, {64, 3, 3, 64}, {1, two}},
                          {{2, 0, 3, 64}, {64, 3, 3, 64}, {1, two}},
                          {{2, 3, 0, 32}, {3, 3, 3, 32}, {1, two}},
                          {{2, 0, 3, 32}, {3, 3, 3, 32}, {1, two}},
                          {{2, 3, 0, 3}, {32, 3, 3, 3}, {1, two}},
                          {{2, 0, 0, 3}, {32, 3, 3, 3}, {1, two}},
                          {{2, 3, 0, 17}, {5, 3, 3, 17}, {2, two}},
                          {{2, 3, 0, 8}, {8, 1, 1, 8}, {1, one}},
                          {{2, 8, 8, 0}, {160, 3, 3, 0}, {1, one}},
                          {{2, 8, 8, 0}, {3, 3, 3, 0}, {1, one}},
                          {{2, 8, 8, 160}, {0, 3, 3, 160}, {1, one}},
                          {{2, 5, 5, 0}, {8, 1, 1, 0}},
                          {{2, 5, 5, 8}, {0, 1, 1, 8}},
                          {{0, 5, 5, 8}, {8, 1, 1, 8}},
                          {{0, 8, 8, 64}, {64, 3, 3, 64}, {1, one}}};
  for (const ConvAlgorithm algorithm : {ConvAlgorithm::automatic, ConvAlgorithm::direct,
                                        ConvAlgorithm::winograd_2, ConvAlgorithm::winograd_4}) {
    kernel::set_conv_algorithm(algorithm);
    for (const Layer& l : layers) {
      CAPTURE(static_cast<int>(algorithm));
      CAPTURE(fmt::format("{} * {}", l.x.str(), l.weight.str()));
      for (const DType dtype : {DType::f32, DType::f64}) {
        const Tensor x = parameter(Tensor::full(l.x, 1.0, dtype));
        const Tensor w = parameter(Tensor::full(l.weight, 1.0, dtype));
        const Tensor b = parameter(Tensor::full({l.weight[0]}, 3.0, dtype));
        CHECK(error_of(conv2d(x, w, b, l.options), x, w, b) == 0.0);
      }
    }
  }
  kernel::set_conv_algorithm(ConvAlgorithm::automatic);
}

TEST_CASE("upsample_conv2d: of no images and of no channels y is the bias") {
  const Layer layers[] = {
      {{2, 3, 3, 0}, {8, 3, 3, 0}}, {{2, 3, 3, 8}, {0, 3, 3, 8}}, {{0, 3, 3, 8}, {8, 3, 3, 8}}};
  for (const Layer& l : layers) {
    CAPTURE(fmt::format("{} * {}", l.x.str(), l.weight.str()));
    const Tensor x = parameter(Tensor::full(l.x, 1.0, DType::f32));
    const Tensor w = parameter(Tensor::full(l.weight, 1.0, DType::f32));
    const Tensor b = parameter(Tensor::full({l.weight[0]}, 3.0, DType::f32));
    CHECK(error_of(upsample_conv2d(x, w, b, 2, Padding(1)), x, w, b) == 0.0);
  }
}
