// What the op table cannot say: kinks, ties, infinities, NaN, other dtypes, and who shares memory.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/engine.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/loss.h"
#include "autograd/ops/quantile.h"
#include "autograd/ops/random.h"
#include "autograd/ops/reduce.h"
#include "autograd/ops/softmax.h"
#include "tests/ops/special_numbers.h"

using namespace ito;
using test::inf, test::not_a_number;

namespace {

using List = std::vector<double>;

Tensor leaf(std::initializer_list<double> values, const Shape& shape) {
  return parameter(Tensor::from(values, shape));
}
Tensor leaf(std::initializer_list<double> values) {
  return leaf(values, {static_cast<std::int64_t>(values.size())});
}
List values(const Tensor& t) { return t.to_vector<double>(); }
List gradient(const Tensor& y, const Tensor& x) { return values(grad<1>(sum(y), {x})[0]); }

std::vector<std::int64_t> ints(const Tensor& t) { return t.to_vector<std::int64_t>(); }
using Ints = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("element-wise: derivatives at kinks are the documented ones") {
  const Tensor x = leaf({-1, 0, 1});
  CHECK(gradient(abs(x), x) == List{-1, 0, 1});
  CHECK(gradient(relu(x), x) == List{0, 0, 1});
  CHECK(gradient(clamp(x, 0.0, 1.0), x) == List{0, 1, 1});
  const Tensor a = leaf({1, 2, 3}), b = leaf({1, 3, 2});
  CHECK(gradient(maximum(a, b), a) == List{0.5, 0, 1});
  CHECK(gradient(maximum(a, b), b) == List{0.5, 1, 0});
  CHECK(gradient(minimum(a, b), a) == List{0.5, 1, 0});
}

TEST_CASE("element-wise: NaN is never hidden") {
  const Tensor x = Tensor::from<double>({not_a_number, 1}, {2}),
               y = Tensor::from<double>({1, not_a_number}, {2});
  for (const Tensor& t : {maximum(x, y), minimum(x, y), x + y, max(x), sum(x), logsumexp(x)}) {
    for (const double v : values(t)) CHECK(std::isnan(v));
  }
  CHECK(std::isnan(values(clamp(x, -1.0, 1.0))[0]));
  CHECK(std::isnan(values(relu(x))[0]));
  CHECK(values(equal(x, x)) == List{0, 1});
  const Tensor wide = Tensor::full({200, 300}, 1.0);
  wide.view({1}, 54321).fill(not_a_number);  // in the middle of a chunk
  CHECK(std::isnan(max(wide).item()));
  CHECK(std::isnan(max(max(wide, {0})).item()));
}

TEST_CASE("element-wise: large arguments neither overflow nor lose their gradient") {
  const Tensor x = leaf({-800, 800});
  CHECK(values(softplus(x)) == List{0, 800});
  CHECK(gradient(softplus(x), x) == List{0, 1});
  CHECK(values(sigmoid(x)) == List{0, 1});
  CHECK(values(silu(x)) == List{0, 800});
  CHECK(gradient(silu(x), x) == List{0, 1});
  CHECK(values(tanh(x)) == List{-1, 1});
}

TEST_CASE("where: only the branch that was taken gets a gradient") {
  const Tensor x = leaf({0, 4});
  const Tensor y = where(x > 0.0, sqrt(x), 0.0);
  CHECK(values(y) == List{0, 2});
  const List g = gradient(where(x > 0.0, x, 5.0), x);
  CHECK(g == List{0, 1});
}

TEST_CASE("max: equal maxima share the gradient") {
  const Tensor x = leaf({1, 3, 3, 2}, {2, 2});
  CHECK(gradient(max(x), x) == List{0, 0.5, 0.5, 0});
  CHECK(gradient(max(x, {0}), x) == List{0, 1, 1, 0});
}

TEST_CASE("max: of negative numbers and of minus infinity") {
  CHECK(max(Tensor::from<double>({-3, -2, -5}, {3})).item() == -2);
  CHECK(max(Tensor::from<double>({-inf, -inf}, {2})).item() == -inf);
}

TEST_CASE("quantile: linear between neighbours, which get the gradient, shared among equals") {
  const Tensor x = leaf({4, 1, 3, 2});
  CHECK(values(quantile(x, 0.5)) == List{2.5});
  CHECK(gradient(quantile(x, 0.5), x) == List{0, 0, 0.5, 0.5});
  CHECK(gradient(quantile(x, 1.0), x) == List{1, 0, 0, 0});
  const Tensor tied = leaf({2, 1, 2, 0, 2});
  CHECK(values(quantile(tied, 0.375)) == List{1.5});
  CHECK(gradient(quantile(tied, 0.375), tied) == List{0.5 / 3, 0.5, 0.5 / 3, 0, 0.5 / 3});
}

TEST_CASE("quantile: NaN is not hidden, infinities are numbers") {
  const Tensor x = leaf({1, not_a_number, 2, -inf, 3, inf}, {2, 3});
  CHECK(std::isnan(values(quantile(x, 0.0))[0]));
  CHECK(values(quantile(x, 0.0))[1] == -inf);
  CHECK(values(quantile(x, 0.5))[1] == 3);
  CHECK(values(quantile(x, 1.0))[1] == inf);
}

TEST_CASE("logsumexp: no overflow, and infinities as limits") {
  const Tensor x = leaf({1000, 1000});
  CHECK(logsumexp(x).item() == doctest::Approx(1000 + std::log(2.0)));
  CHECK(gradient(logsumexp(x), x)[0] == doctest::Approx(0.5));
  CHECK(logsumexp(Tensor::from<double>({-inf, -inf}, {2})).item() == -inf);
  CHECK(logsumexp(Tensor::from<double>({inf, 0}, {2})).item() == inf);
  CHECK(logsumexp(Tensor::from<double>({-inf, 3}, {2})).item() == doctest::Approx(3));
}

TEST_CASE("softmax: no overflow; a hidden element gets nothing") {
  const Tensor x = leaf({1000, 1000, -inf});
  CHECK(values(softmax(x)) == List{0.5, 0.5, 0});
  const List g = values(grad(softmax(x), {x}, {}, Tensor::from<double>({1, 0, 5}, {3}))[0]);
  CHECK(g == List{0.25, -0.25, 0});
}

TEST_CASE("sum: many small terms keep their digits") {
  // Adding 0.1 to a growing f32 total one by one would be off by thousands.
  const Tensor x = Tensor::full({10, 1000, 1000}, 0.1);
  const double exact = 1e6 * static_cast<double>(0.1f);
  for (const float v : sum(x, {1, 2}).to_vector<float>()) {
    CHECK(static_cast<double>(v) == doctest::Approx(exact).epsilon(1e-7));
  }
  CHECK(sum(x).item() == doctest::Approx(10 * exact).epsilon(1e-7));
}

TEST_CASE("layout: elements of every dtype can be moved") {
  const Tensor x = Tensor::from<std::int64_t>({1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(ints(permute(x, {1, 0})) == Ints{1, 4, 2, 5, 3, 6});
  CHECK(ints(slice(x, 1, 1, 2)) == Ints{2, 5});
  CHECK(ints(pad(x, 1, 0, 1, -7)) == Ints{1, 2, 3, -7, 4, 5, 6, -7});
  CHECK(ints(concat({x, x}, 0)) == Ints{1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6});
  CHECK(ints(expand(Tensor::from<std::int64_t>({8, 9}, {2, 1}), {2, 2})) == Ints{8, 8, 9, 9});
  CHECK(ints(gather(x, Tensor::from<std::int64_t>({1}, {1}))) == Ints{4, 5, 6});
  const Tensor small = Tensor::from<std::uint8_t>({1, 2, 3, 4}, {2, 2});
  CHECK(permute(small, {1, 0}).to_vector<std::uint8_t>() == std::vector<std::uint8_t>{1, 3, 2, 4});
  const Tensor half = cast(Tensor::from<float>({1, 2, 3, 4}, {2, 2}), DType::bf16);
  CHECK(cast(permute(half, {1, 0}), DType::f32).to_vector<float>() ==
        std::vector<float>{1, 3, 2, 4});
}

TEST_CASE("layout: reshape and a slice of the first axis share elements, the others copy") {
  const Tensor x = Tensor::zeros({4, 3});
  CHECK(reshape(x, Shape{12}).shares_storage_with(x));
  CHECK(slice(x, 0, 1, 3).shares_storage_with(x));
  CHECK_FALSE(slice(x, 1, 1, 3).shares_storage_with(x));
  CHECK_FALSE(permute(x, {1, 0}).shares_storage_with(x));
}

TEST_CASE("concat: one tensor given several times gets all its gradients") {
  const Tensor x = leaf({1, 2});
  CHECK(values(concat({x, x, x}, 0)) == List{1, 2, 1, 2, 1, 2});
  CHECK(gradient(concat({x, x, x}, 0), x) == List{3, 3});
}

TEST_CASE("cast: the gradient comes back in the dtype of the input") {
  const Tensor x = leaf({1.5, 2.5});
  const Tensor y = cast(x, DType::f32);
  CHECK(y.dtype() == DType::f32);
  const Tensor g = grad<1>(sum(square(y)), {x})[0];
  CHECK(g.dtype() == DType::f64);
  CHECK(values(g) == List{3, 5});
  CHECK_FALSE(requires_grad(cast(x, DType::i64)));
}

TEST_CASE("matmul: a sum over nothing is zero") {
  CHECK(matmul(Tensor::zeros({2, 0}), Tensor::zeros({0, 3})).to_vector<float>() ==
        std::vector<float>(6, 0.0f));
}

TEST_CASE("matmul: NaN and infinity reach the result") {
  const Tensor a = Tensor::from<double>({not_a_number, 0, 0, inf}, {2, 2});
  const List y = values(matmul(a, Tensor::from<double>({1, 0, 0, 1}, {2, 2})));
  CHECK(std::isnan(y[0]));
  CHECK(y[3] == inf);
}

TEST_CASE(
    "cross_entropy: a certain and right answer costs nothing; a hidden class does not spoil it") {
  const Tensor label = Tensor::from<std::int64_t>({1}, {1});
  CHECK(cross_entropy(Tensor::from<double>({0, 900}, {1, 2}), label).item() == 0.0);
  const Tensor x = leaf({-inf, 0, 0}, {1, 3});
  CHECK(cross_entropy(x, label).item() == doctest::Approx(std::log(2.0)));
  CHECK(gradient(cross_entropy(x, label), x) == List{0, -0.5, 0.5});
}

TEST_CASE("gather: an index that occurs twice gets both gradients") {
  const Tensor table = leaf({1, 2, 3});
  const Tensor ids = Tensor::from<std::int64_t>({2, 0, 2}, {3});
  const Tensor dy = Tensor::from<double>({1, 10, 100}, {3});
  CHECK(values(grad(gather(table, ids), {table}, {}, dy)[0]) == List{10, 0, 101});
}

TEST_CASE("dropout: keeps the mean, uses one draw, and p = 0 is the identity") {
  Rng rng(1, Purpose::dropout);
  const Tensor x = parameter(Tensor::full({400, 250}, 1.0, DType::f64));
  const Tensor y = dropout(x, 0.25, rng);
  // 100,000 elements: five standard errors of the mean are 5 sqrt(p / (1 - p) / n) = 0.0091.
  CHECK(std::abs(mean(y).item() - 1.0) < 0.0091);
  for (const double v : values(y)) REQUIRE((v == 0.0 || v == doctest::Approx(1 / 0.75)));
  CHECK(rng.next_draw() == 1);
  CHECK(gradient(y, x) == values(y));  // of a tensor of ones: the mask itself
  CHECK(dropout(x, 0.0, rng).shares_storage_with(x));
  CHECK(rng.next_draw() == 2);
}

TEST_CASE("dropout: f32 and f64 see one mask, and so does each part of a batch") {
  const auto zeros_of = [](DType dtype, std::uint64_t first, std::int64_t count) {
    Rng rng(1, Purpose::dropout);
    rng.seek(3, first);
    return cast(equal(dropout(Tensor::full({count, 9}, 1.0, dtype), 0.5, rng),
                      Tensor::scalar(0.0, dtype)),
                DType::f64)
        .to_vector<double>();
  };
  const List all = zeros_of(DType::f32, 0, 8);
  CHECK(all == zeros_of(DType::f64, 0, 8));
  CHECK(List(all.begin() + 45, all.end()) == zeros_of(DType::f32, 5, 3));
}

TEST_CASE("mse: b alone may need the gradient") {
  const Tensor a = Tensor::from<double>({1, 2}, {2}), b = leaf({3, 5});
  CHECK(values(grad<1>(mse(a, b), {b})[0]) == List{2, 3});
}

TEST_CASE("attention: a NaN in one key reaches every query and every gradient") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const double bad : {not_a_number, -not_a_number, inf}) {
      const auto some = [&](std::int64_t tokens) {
        return Tensor::full({1, tokens, 4}, 0.5, dtype);
      };
      Tensor key = some(37);
      Tensor row = key.view({1}, 9);
      row.fill(bad);
      const Tensor q = parameter(some(40)), k = parameter(key), v = parameter(some(37));
      const Tensor y = attention(q, k, v);
      for (const double value : values(cast(y, DType::f64))) CHECK(std::isnan(value));
      for (const Tensor& g : grad<3>(sum(y), {q, k, v})) {
        for (const double value : values(cast(g, DType::f64))) CHECK(std::isnan(value));
      }
    }
  }
}

TEST_CASE(
    "attention: scores thousands apart choose one key, and keys as far below weigh exactly 0") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Tensor q = Tensor::full({1, 3, 1}, -1e4, dtype);
    List keys(20, 1.0), chosen(20, 7.0);
    keys[11] = 0.5;
    chosen[11] = 2.0;
    const auto tokens = [&](const List& list) {
      return cast(Tensor::from<double>(list, {1, 20, 1}), dtype);
    };
    CHECK(values(cast(attention(q, tokens(keys), tokens(chosen)), DType::f64)) == List{2, 2, 2});
  }
}
