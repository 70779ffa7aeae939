// The kernel for 2x upsampling and a 3x3 convolution against upsampling and convolving one after
// the other, on sizes with full and partly filled vectors, tiles and tasks.
#include "autograd/ops/conv_upsample.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"
#include "autograd/ops/resample.h"
#include "tensor/rng.h"
#include "tests/compare.h"

using namespace ito;

namespace {

struct Upsample2xLayer {
  std::int64_t n, h, w, in, out;
};

// y, and from dy the gradients to x, weight and bias.
std::vector<Tensor> passes(bool fused, const Tensor& x, const Tensor& w, const Tensor& b,
                           const Tensor& dy) {
  const Padding one = Padding(1);
  const Tensor y = fused ? upsample_conv2d(x, w, b, 2, one)
                         : conv2d(upsample_nearest(x, 2), w, b, {.padding = one});
  std::vector<Tensor> all = grad(y, std::vector<Tensor>{x, w, b}, {}, dy);
  all.insert(all.begin(), y);
  return all;
}

// The largest difference of the two ways over all passes, relative to the largest number in each.
double error_of(const Upsample2xLayer& l, DType dtype, double wrong = 0.0) {
  Rng rng(3, Purpose::test);
  const auto values = [&](const Shape& shape) { return parameter(randn(rng, shape, DType::f64)); };
  const Tensor x = values({l.n, l.h, l.w, l.in}), w = values({l.out, 3, 3, l.in});
  const Tensor b = values({l.out}), dy = randn(rng, {l.n, 2 * l.h, 2 * l.w, l.out}, DType::f64);
  const auto rounded = [&](const Tensor& t) { return parameter(cast(detach(t), dtype)); };
  const auto expected = passes(false, x, w, b, dy);
  const auto actual = passes(true, rounded(x + wrong), rounded(w), rounded(b), cast(dy, dtype));
  double error = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    REQUIRE(actual[i].shape() == expected[i].shape());
    error = std::max(
        error, test::max_difference(actual[i], expected[i]) / max(abs(detach(expected[i]))).item());
  }
  return error;
}

const Upsample2xLayer layers[] = {{1, 1, 1, 1, 1},   {2, 3, 5, 17, 33},  {3, 7, 7, 64, 64},
                                  {2, 4, 4, 256, 9}, {9, 9, 8, 40, 130}, {1, 2, 60, 3, 48}};

}  // namespace

TEST_CASE("upsample_conv2d: all passes equal upsampling and then convolving, in f64 and in f32") {
  for (const Upsample2xLayer& l : layers) {
    CAPTURE(fmt::format("{}x{}x{} {} > {}", l.n, l.h, l.w, l.in, l.out));
    CHECK(error_of(l, DType::f64) < 1e-13);
    CHECK(error_of(l, DType::f32) < 2e-6);
    CHECK(error_of(l, DType::f64, 1e-9) > 1e-11);  // the comparison sees a small mistake
  }
}
