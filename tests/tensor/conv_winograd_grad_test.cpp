// The gradient to the weight of a convolution by Winograd's algorithm against its definition, and
// as the adjoint of convolution.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "autograd/ops/layout.h"
#include "autograd/ops/random.h"
#include "tensor/kernels/conv_plan.h"
#include "tensor/kernels/conv_winograd.h"
#include "tensor/rng.h"
#include "tensor/tensor.h"
#include "tests/scopes.h"
#include "tests/tensor/conv_winograd_errors.h"

using namespace ito;
using kernel::Conv2dWeightGrad, kernel::ConvShape;
using test::Distance, test::error_of;

namespace {

struct GradCase {
  std::int64_t n, h, w, in, out;
  std::int64_t top = 1, left = 1, bottom = 1, right = 1;
  std::int64_t second = 0;  // channels of x2
};

ConvShape shape_of(const GradCase& c) {
  return {.n = c.n,
          .h = c.h,
          .w = c.w,
          .in = c.in,
          .p = c.h + c.top + c.bottom - 2,
          .q = c.w + c.left + c.right - 2,
          .out = c.out,
          .kh = 3,
          .kw = 3,
          .stride = 1,
          .top = c.top,
          .left = c.left};
}

struct Operands {
  Tensor x, x2, dy;
};

Operands operands_of(const GradCase& c) {
  const ConvShape s = shape_of(c);
  Rng rng(7, Purpose::test);
  return {randn(rng, {s.n, s.h, s.w, s.in - c.second}),
          randn(rng, {s.n, s.h, s.w, std::max<std::int64_t>(c.second, 1)}),
          randn(rng, {s.n, s.p, s.q, s.out})};
}

Tensor winograd(const GradCase& c, const Operands& operands, DType dtype, int m) {
  const ConvShape s = shape_of(c);
  const Tensor x = cast(operands.x, dtype), x2 = cast(operands.x2, dtype);
  const Tensor dy = cast(operands.dy, dtype);
  Tensor dw = Tensor::full({s.out, 3, 3, s.in}, 1e30, dtype);
  const void* second = c.second > 0 ? x2.raw() : nullptr;
  kernel::conv2d_weight_grad_winograd(
      {x.raw(), dy.raw(), dw.mutable_raw(), s, dtype, second, c.second}, m);
  return cast(dw, DType::f64);
}

// dw[o, r, c, i] = sum over n, p, q of dy[n, p, q, o] x[n, p + r - top, q + c - left, i]
Tensor definition(const GradCase& c, const Operands& operands) {
  const ConvShape s = shape_of(c);
  const std::int64_t first = s.in - c.second;
  const float *x = operands.x.data<float>(), *x2 = operands.x2.data<float>();
  Tensor result = Tensor::zeros({s.out, 3, 3, s.in}, DType::f64);
  double* dw = result.mutable_data<double>();
  const float* dy = operands.dy.data<float>();
  for (std::int64_t at = 0; at < s.n * s.p * s.q * 9; ++at) {
    const std::int64_t tap = at % 9, position = at / 9, n = position / (s.p * s.q);
    const std::int64_t h = position / s.q % s.p + tap / 3 - s.top;
    const std::int64_t w = position % s.q + tap % 3 - s.left;
    if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;
    const std::int64_t pixel = (n * s.h + h) * s.w + w;
    for (std::int64_t i = 0; i < s.in; ++i) {
      const double value = i < first ? x[pixel * first + i] : x2[pixel * c.second + i - first];
      for (std::int64_t o = 0; o < s.out; ++o) {
        dw[(o * 9 + tap) * s.in + i] += value * static_cast<double>(dy[position * s.out + o]);
      }
    }
  }
  return result;
}

// Images of all sizes modulo m, fewer tiles than a slab and many slabs, several chunks and groups
// of outputs, channels with and without a rest behind whole vectors, every padding, two arrays.
const std::vector<GradCase> grad_cases = {
    {.n = 9, .h = 14, .w = 14, .in = 32, .out = 64},
    {.n = 33, .h = 7, .w = 7, .in = 17, .out = 33},
    {.n = 5, .h = 28, .w = 28, .in = 48, .out = 32, .second = 16},
    {.n = 2, .h = 5, .w = 9, .in = 37, .out = 150, .second = 6},
    {.n = 1, .h = 1, .w = 1, .in = 5, .out = 3},
    {.n = 3, .h = 2, .w = 11, .in = 1, .out = 16},
    {.n = 2, .h = 5, .w = 6, .in = 3, .out = 70, .top = 0, .left = 2, .bottom = 2, .right = 0},
    {.n = 1, .h = 6, .w = 13, .in = 16, .out = 1, .top = 2, .left = 1, .bottom = 0, .right = 2},
    {.n = 2, .h = 3, .w = 3, .in = 8, .out = 8, .top = 0, .left = 0, .bottom = 0, .right = 0},
    {.n = 2, .h = 4, .w = 3, .in = 18, .out = 20, .top = 5, .left = 4, .bottom = 3, .right = 6},
};

// <conv(x, w), dy> - <w, dw>, in units of the norms of w and dw: 0 for the adjoint.
double adjoint_error(const GradCase& c, const Tensor& dw, const Operands& operands) {
  const ConvShape s = shape_of(c);
  Rng rng(8, Purpose::test);
  const Tensor w = cast(randn(rng, dw.shape()), DType::f64);
  const Tensor x = cast(operands.x, DType::f64), dy = cast(operands.dy, DType::f64);
  Tensor y = Tensor::zeros(dy.shape(), DType::f64);
  kernel::Conv2d::cpu({x.raw(), w.raw(), nullptr, nullptr, y.mutable_raw(), s, false, DType::f64});
  const auto dot = [](const Tensor& a, const Tensor& b) {
    double sum = 0.0;
    for (std::int64_t i = 0; i < a.numel(); ++i) sum += a.data<double>()[i] * b.data<double>()[i];
    return sum;
  };
  return std::abs(dot(y, dy) - dot(w, dw)) / std::sqrt(dot(w, w) * dot(dw, dw));
}

}  // namespace

TEST_CASE("Winograd's gradient to the weight in f64 is its definition to 1e-12") {
  for (const GradCase& c : grad_cases) {
    CAPTURE(c.h);
    CAPTURE(c.in);
    CAPTURE(c.out);
    const Operands operands = operands_of(c);
    const Tensor expected = definition(c, operands);
    for (const int m : {2, 4}) {
      CHECK(error_of(winograd(c, operands, DType::f64, m), expected).largest < 1e-12);
    }
  }
}

TEST_CASE("Winograd's gradient to the weight in f32: rms error of 1e-6 of the rms of dw") {
  for (const GradCase& c : grad_cases) {
    CAPTURE(c.h);
    CAPTURE(c.in);
    CAPTURE(c.out);
    const Operands operands = operands_of(c);
    const Tensor expected = definition(c, operands);
    for (const int m : {2, 4}) {
      const Distance error = error_of(winograd(c, operands, DType::f32, m), expected);
      CHECK(error.rms < 1e-6);
      CHECK(error.largest < 1e-5);
    }
  }
}

TEST_CASE("Winograd's gradient to the weight is the adjoint of convolution") {
  const GradCase& c = grad_cases[0];
  const Operands operands = operands_of(c);
  for (const int m : {2, 4}) {
    CHECK(adjoint_error(c, winograd(c, operands, DType::f64, m), operands) < 1e-13);
  }
}

TEST_CASE("Winograd's gradient to the weight: a shift of one pixel and a lost tile are seen") {
  const GradCase& c = grad_cases[0];
  const Operands operands = operands_of(c);
  const Tensor expected = definition(c, operands);
  GradCase shifted = c;
  shifted.left = 2, shifted.right = 0;
  const Tensor dw = winograd(shifted, operands, DType::f64, 4);
  CHECK(error_of(dw, expected).largest > 0.1);
  CHECK(adjoint_error(c, dw, operands) > 1e-3);

  Operands without = operands;
  without.dy = cast(cast(operands.dy, DType::f64), DType::f32);  // a copy
  for (std::int64_t i = 0; i < 4; ++i) {  // a row of the last tile of the last image
    float* row = without.dy.mutable_data<float>() + without.dy.numel() - 64 * (i + 1);
    std::fill_n(row, 64, 0.0f);
  }
  CHECK(error_of(winograd(c, without, DType::f32, 4), expected).rms > 1e-3);
}

TEST_CASE("Winograd's gradient to the weight: the same bits for any number of threads") {
  const test::ThreadScope scope;
  for (const GradCase& c : {grad_cases[0], grad_cases[2], grad_cases[3]}) {
    const Operands operands = operands_of(c);
    set_num_threads(1);
    const Tensor dw = winograd(c, operands, DType::f32, 4);
    for (const int threads : {2, 4}) {
      set_num_threads(threads);
      CHECK(error_of(winograd(c, operands, DType::f32, 4), dw).largest == 0.0);
    }
  }
}

TEST_CASE("The algorithm of the gradient to the weight follows from channels and tiles") {
  const auto m = [](const GradCase& c, DType dtype = DType::f32) {
    return winograd_outputs(shape_of(c), kernel::ConvPass::weight_grad, dtype);
  };
  CHECK(m({.n = 64, .h = 28, .w = 28, .in = 32, .out = 32}) == 4);
  CHECK(m({.n = 64, .h = 2, .w = 2, .in = 64, .out = 64}) == 2);  // tiles of 4 would be 3/4 empty
  CHECK(m({.n = 1, .h = 2, .w = 2, .in = 64, .out = 64}) ==
        0);  // one tile does not pay for the taps
  CHECK(m({.n = 64, .h = 28, .w = 28, .in = 1, .out = 32}) == 0);
  CHECK(m({.n = 64, .h = 28, .w = 28, .in = 32, .out = 32}, DType::f64) == 0);
}
