// Convolution by Winograd's algorithm against direct convolution, which the op table checks against
// the definition.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "autograd/ops/layout.h"
#include "autograd/ops/random.h"
#include "tensor/kernels/conv.h"
#include "tensor/kernels/packed_weights.h"
#include "tensor/rng.h"
#include "tensor/tensor.h"
#include "tests/scopes.h"
#include "tests/tensor/conv_winograd_errors.h"

using namespace ito;
using kernel::Conv2d, kernel::Conv2dInputGrad, kernel::ConvAlgorithm, kernel::ConvShape;
using test::Distance, test::error_of, test::Forced;

namespace {

enum class Addend { none, pixel, image };

struct Case {
  std::int64_t n, h, w, in, out, top, left, bottom, right;
  std::int64_t second = 0;  // channels of x2
  bool bias = true;
  Addend addend = Addend::none;
};

ConvShape shape_of(const Case& c) {
  const std::int64_t p = c.h + c.top + c.bottom - 2, q = c.w + c.left + c.right - 2;
  return {.n = c.n,
          .h = c.h,
          .w = c.w,
          .in = c.in,
          .p = p,
          .q = q,
          .out = c.out,
          .kh = 3,
          .kw = 3,
          .stride = 1,
          .top = c.top,
          .left = c.left};
}

Tensor random(std::uint64_t seed, const Shape& shape, DType dtype) {
  Rng rng(seed, Purpose::test);
  return cast(randn(rng, shape), dtype);
}

Tensor forward(const Case& c, DType dtype, ConvAlgorithm algorithm,
               kernel::PackedWeights* packed = nullptr) {
  const Forced forced(algorithm);
  const ConvShape s = shape_of(c);
  const Tensor x = random(1, {s.n, s.h, s.w, s.in - c.second}, dtype);
  const Tensor x2 = random(2, {s.n, s.h, s.w, std::max<std::int64_t>(c.second, 1)}, dtype);
  const Tensor weight = random(3, {s.out, 3, 3, s.in}, dtype), bias = random(4, {s.out}, dtype);
  const bool per_image = c.addend == Addend::image;
  const Tensor addend = random(5, {s.n, per_image ? 1 : s.p, per_image ? 1 : s.q, s.out}, dtype);
  Tensor y = Tensor::full({s.n, s.p, s.q, s.out}, 1e30, dtype);
  Conv2d::cpu({x.raw(), weight.raw(), c.bias ? bias.raw() : nullptr,
               c.addend == Addend::none ? nullptr : addend.raw(), y.mutable_raw(), s, per_image,
               dtype, c.second > 0 ? x2.raw() : nullptr, c.second, packed});
  return cast(y, DType::f64);
}

Tensor input_grad(const Case& c, DType dtype, ConvAlgorithm algorithm) {
  const Forced forced(algorithm);
  const ConvShape s = shape_of(c);
  const Tensor dy = random(6, {s.n, s.p, s.q, s.out}, dtype);
  const Tensor weight = random(3, {s.out, 3, 3, s.in}, dtype), bias = random(4, {s.in}, dtype);
  Tensor dx = Tensor::full({s.n, s.h, s.w, s.in}, 1e30, dtype);
  Conv2dInputGrad::cpu({.dy = dy.raw(),
                        .weight = weight.raw(),
                        .dx = dx.mutable_raw(),
                        .shape = s,
                        .dtype = dtype,
                        .bias = c.bias ? bias.raw() : nullptr});
  return cast(dx, DType::f64);
}

// Images of all sizes modulo m, smaller than a tile, larger than a task; channels with and without
// a rest behind whole vectors; every padding.
const std::vector<Case> cases = {
    {2, 28, 28, 32, 32, 1, 1, 1, 1},
    {3, 14, 14, 32, 64, 1, 1, 1, 1, 0, true, Addend::pixel},
    {5, 7, 7, 64, 32, 1, 1, 1, 1, 0, true, Addend::image},
    {3, 7, 9, 96, 40, 1, 1, 1, 1, 32, true, Addend::pixel},
    {1, 4, 4, 48, 33, 1, 1, 1, 1, 16, false, Addend::image},
    {1, 1, 1, 5, 3, 1, 1, 1, 1},
    {2, 3, 11, 17, 1, 1, 1, 1, 1, 6},
    {1, 5, 6, 3, 70, 0, 2, 2, 0},
    {1, 6, 13, 1, 16, 2, 1, 0, 2, 0, false, Addend::pixel},
    {2, 3, 3, 8, 8, 0, 0, 0, 0},
    {2, 8, 8, 80, 130, 1, 1, 1, 1, 16, true, Addend::pixel},
};
constexpr ConvAlgorithm winograds[] = {ConvAlgorithm::winograd_2, ConvAlgorithm::winograd_4};

}  // namespace

TEST_CASE("Winograd convolution in f64 is direct convolution to 1e-12") {
  for (const Case& c : cases) {
    CAPTURE(c.h);
    CAPTURE(c.in);
    CAPTURE(c.out);
    for (const ConvAlgorithm algorithm : winograds) {
      const Tensor y = forward(c, DType::f64, ConvAlgorithm::direct);
      CHECK(error_of(forward(c, DType::f64, algorithm), y).largest < 1e-12);
      const Tensor dx = input_grad(c, DType::f64, ConvAlgorithm::direct);
      CHECK(error_of(input_grad(c, DType::f64, algorithm), dx).largest < 1e-12);
    }
  }
}

TEST_CASE("Winograd convolution in f32: rms error of 2e-6, 1e-6 for m = 2, of the rms of y") {
  for (const Case& c : cases) {
    CAPTURE(c.h);
    CAPTURE(c.in);
    CAPTURE(c.out);
    for (const ConvAlgorithm algorithm : winograds) {
      const double rms = algorithm == ConvAlgorithm::winograd_2 ? 1e-6 : 2e-6;
      const Distance forward_error = error_of(forward(c, DType::f32, algorithm),
                                              forward(c, DType::f64, ConvAlgorithm::direct));
      CHECK(forward_error.rms < rms);
      CHECK(forward_error.largest < 2e-5);
      const Distance grad_error = error_of(input_grad(c, DType::f32, algorithm),
                                           input_grad(c, DType::f64, ConvAlgorithm::direct));
      CHECK(grad_error.rms < rms);
      CHECK(grad_error.largest < 2e-5);
    }
  }
}

TEST_CASE("Winograd convolution: a difference of one pixel in the padding is seen") {
  Case shifted = cases[0];
  shifted.top = 2, shifted.bottom = 0;
  const Tensor y = forward(cases[0], DType::f64, ConvAlgorithm::direct);
  CHECK(error_of(forward(shifted, DType::f64, ConvAlgorithm::winograd_4), y).largest > 0.1);
  const Tensor dx = input_grad(cases[0], DType::f64, ConvAlgorithm::direct);
  CHECK(error_of(input_grad(shifted, DType::f64, ConvAlgorithm::winograd_4), dx).largest > 0.1);
}

TEST_CASE("Winograd convolution: kept weights, and work cut by tiles, give the same bits") {
  const Case& c = cases.back();
  for (const ConvAlgorithm algorithm : winograds) {
    kernel::PackedWeights packed;
    const Tensor y = forward(c, DType::f32, algorithm);
    CHECK(error_of(forward(c, DType::f32, algorithm, &packed), y).largest == 0.0);
    CHECK(error_of(forward(c, DType::f32, algorithm, &packed), y).largest == 0.0);
  }
}

TEST_CASE("Winograd convolution: the same bits for any number of threads") {
  const Case many{9, 14, 14, 64, 96, 1, 1, 1, 1, 32, true, Addend::pixel};
  const test::ThreadScope scope;
  for (const Case& c : {many, cases.back()}) {
    for (const ConvAlgorithm algorithm : winograds) {
      set_num_threads(1);
      const Tensor y = forward(c, DType::f32, algorithm), dx = input_grad(c, DType::f32, algorithm);
      for (const int threads : {2, 4}) {
        set_num_threads(threads);
        CHECK(error_of(forward(c, DType::f32, algorithm), y).largest == 0.0);
        CHECK(error_of(input_grad(c, DType::f32, algorithm), dx).largest == 0.0);
      }
    }
  }
}

TEST_CASE("The algorithm of a convolution: Winograd only for 3x3 taps of stride 1") {
  const ConvShape s = shape_of(cases[0]);
  ConvShape strided = s, pointwise = s;
  strided.stride = 2;
  pointwise.kh = pointwise.kw = 1;
  const auto outputs = [](const ConvShape& shape) {
    return winograd_outputs(shape, kernel::ConvPass::forward, DType::f32);
  };
  for (const ConvAlgorithm algorithm : winograds) {
    const Forced forced(algorithm);
    CHECK(outputs(s) == (algorithm == ConvAlgorithm::winograd_2 ? 2 : 4));
    CHECK(outputs(strided) == 0);
    CHECK(outputs(pointwise) == 0);
  }
  const Forced forced(ConvAlgorithm::direct);
  CHECK(outputs(s) == 0);
}
