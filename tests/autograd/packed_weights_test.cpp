// What kernels make of weights, kept: the same results, never stale, and gone at the end.
#include "autograd/packed_weights.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "autograd/engine.h"
#include "autograd/ops/conv.h"
#include "autograd/ops/conv_upsample.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/reduce.h"
#include "tensor/memory.h"
#include "tensor/rng.h"
#include "tests/compare.h"
#include "tests/scopes.h"

using namespace ito;
using test::Forced;

namespace {

Tensor noise(const Shape& shape, std::uint64_t seed, DType dtype = DType::f32) {
  Rng rng(seed, Purpose::test);
  return randn(rng, shape, dtype);
}

struct Layers {
  Tensor conv, joined, up, linear;
  explicit Layers(DType dtype = DType::f32)
      : conv(parameter(noise({40, 3, 3, 20}, 1, dtype))),
        joined(parameter(noise({40, 1, 1, 20}, 2, dtype))),
        up(parameter(noise({36, 3, 3, 20}, 3, dtype))),
        linear(parameter(noise({24, 20}, 4, dtype))) {}

  std::vector<Tensor> operator()(const Tensor& x) const {
    const std::int64_t half = x.size(3) / 2;
    const Shape half_shape = x.shape().with(-1, half);
    const Tensor first = noise(half_shape, 5, x.dtype()), second = noise(half_shape, 6, x.dtype());
    return {
        conv2d(x, conv, {}, {.padding = 1}),
        conv2d(x, conv, {}, {.stride = 2, .padding = 1}),
        conv2d_input_grad(noise({2, 5, 5, 40}, 7, x.dtype()), conv, {2, 5, 5, 20}, {.padding = 1}),
        conv2d_concat(first, second, joined, {}),
        upsample_conv2d(x, up, {}, 2, Padding(1)),
        upsample_conv2d(x, up, {}, 3, Padding(1)),
        ito::linear(x, linear, {})};
  }
};

bool same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Tensor& x, const Tensor& y) { return test::same_bits(x, y); });
}

constexpr kernel::ConvAlgorithm algorithms[] = {kernel::ConvAlgorithm::direct,
                                                kernel::ConvAlgorithm::winograd_2,
                                                kernel::ConvAlgorithm::winograd_4};

}  // namespace

TEST_CASE_TEMPLATE("results are the same bits with kept weights, the first time and later", T,
                   float, double) {
  const Layers layers(dtype_of<T>);
  const Tensor x = noise({2, 5, 5, 20}, 8, dtype_of<T>);
  const NoGrad off;
  for (const auto algorithm : algorithms) {
    const Forced forced(algorithm);
    const auto without = layers(x);
    const KeepPackedWeights keep;
    CHECK(same_bits(layers(x), without));
    CHECK(same_bits(layers(x), without));
  }
}

TEST_CASE("each algorithm keeps forms of its own") {
  const Layers layers;
  const Tensor x = noise({2, 5, 5, 20}, 8);
  const NoGrad off;
  std::vector<std::vector<Tensor>> without;
  for (const auto algorithm : algorithms) {
    const Forced forced(algorithm);
    without.push_back(layers(x));
  }
  const KeepPackedWeights keep;
  for (std::size_t i = 0; i < without.size(); ++i) {
    const Forced forced(algorithms[i]);
    CHECK(same_bits(layers(x), without[i]));
  }
}

TEST_CASE("a parameter that is written to is made anew") {
  Layers layers;
  const Tensor x = noise({2, 5, 5, 20}, 8);
  const NoGrad off;
  const KeepPackedWeights keep;
  const auto before = layers(x);
  for (Tensor* w : {&layers.conv, &layers.joined, &layers.up, &layers.linear}) {
    w->assign(noise(w->shape(), 9));
  }
  const auto after = layers(x);
  for (std::size_t i = 0; i < before.size(); ++i) CHECK_FALSE(test::same_bits(before[i], after[i]));
  for (Tensor* w : {&layers.conv, &layers.joined, &layers.up, &layers.linear}) {
    *w = w->clone();  // no parameters: nothing is kept of them
  }
  CHECK(same_bits(layers(x), after));
}

TEST_CASE("forms are used again: a change that is hidden from the tensor is not seen") {
  const Layers layers;
  const Tensor x = noise({2, 5, 5, 20}, 8);
  const NoGrad off;
  for (const auto algorithm : algorithms) {
    const Forced forced(algorithm);
    const auto without = layers(x);
    {
      const KeepPackedWeights keep;
      layers(x);
      for (const Tensor& w : {layers.conv, layers.joined, layers.up, layers.linear}) {
        static_cast<float*>(const_cast<void*>(w.raw()))[0] += 1.0f;
      }
      auto stale = layers(x), expected = without;
      // Upsampling by 3 folds the weight first, and what it folded is no parameter.
      stale.erase(stale.begin() + 5), expected.erase(expected.begin() + 5);
      CHECK(same_bits(stale, expected));
    }
    const auto seen = layers(x);
    for (std::size_t i = 0; i < seen.size(); ++i) CHECK_FALSE(test::same_bits(seen[i], without[i]));
  }
}

TEST_CASE("nothing is kept of tensors that are no parameters, which may share an address in time") {
  const Tensor x = noise({2, 5, 5, 20}, 8);
  const NoGrad off;
  const KeepPackedWeights keep;
  for (std::uint64_t seed = 10; seed < 14; ++seed) {
    const Tensor weight = noise({40, 3, 3, 20}, seed);
    CHECK(packed_weights_of(weight, 1) == nullptr);
    const Tensor y = conv2d(x, weight, {}, {.padding = 1});
    const Tensor sum = conv2d_weight_grad(x, y, weight.shape(), {.padding = 1});
    double product = 0.0, squares = 0.0;  // <dw, w> = <y, y>, so y is of this weight
    const auto a = sum.to_vector<float>(), w = weight.to_vector<float>(), v = y.to_vector<float>();
    for (std::size_t i = 0; i < a.size(); ++i) product += static_cast<double>(a[i]) * w[i];
    for (const float value : v) squares += static_cast<double>(value) * value;
    CHECK(product == doctest::Approx(squares).epsilon(1e-5));
  }
}

TEST_CASE("what was kept is given back with the last scope of the thread, and counted until then") {
  const Tensor x = noise({2, 5, 5, 20}, 8);
  const NoGrad off;
  const Layers layers;
  layers(x);
  const std::size_t before = memory::usage().current;
  {
    const KeepPackedWeights outer;
    {
      const KeepPackedWeights inner;
      layers(x);
    }
    CHECK(memory::usage().current > before);
    CHECK(packed_weights_of(layers.conv, max_kept_rows) != nullptr);
    CHECK(packed_weights_of(layers.conv, max_kept_rows + 1) == nullptr);  // it would not pay
  }
  CHECK(memory::usage().current == before);
  CHECK(packed_weights_of(layers.conv, 1) == nullptr);
}

TEST_CASE("gradients that are taken while weights are kept are those without") {
  const Layers layers;
  const Tensor x = parameter(noise({2, 5, 5, 20}, 8));
  const auto gradients = [&] {
    const auto y = layers(x);
    return grad(sum(y[0]) + sum(y[4]), std::vector<Tensor>{x, layers.conv, layers.up});
  };
  const auto without = gradients();
  const KeepPackedWeights keep;
  {
    const NoGrad off;
    layers(x);
  }
  CHECK(same_bits(gradients(), without));
}
