// Infinities, NaN, kinks and dtypes on the device: each against the CPU, or against the value that
// the definition gives.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/quantile.h"
#include "autograd/ops/reduce.h"
#include "autograd/ops/softmax.h"
#include "tensor/cuda_graph.h"
#include "tensor/kernels/fill.h"
#include "tensor/launch.h"
#include "tests/devices.h"
#include "tests/ops/op_runs.h"
#include "tests/ops/special_numbers.h"

using namespace ito;
using test::inf, test::not_a_number;
using namespace ito::optable;

namespace {

using Function = std::function<Tensor(const Tensors&)>;

// f of the values on the device in f32 and in bf16 equals f on the CPU in f32: NaN and infinities
// where it has them, numbers to `tolerance`.
void same_on_device(const Function& f, const std::vector<std::vector<double>>& values,
                    double tolerance = 1e-6) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Tensors here, there;
    for (const auto& v : values) {
      const Tensor t = cast(Tensor::from(v, {static_cast<std::int64_t>(v.size())}), dtype);
      here.push_back(cast(t, DType::f32));
      there.push_back(t.to(Device::cuda()));
    }
    const Array wanted = to_array(f(here)), got = to_array(f(there));
    REQUIRE(got.shape == wanted.shape);
    const double allowed = dtype == DType::f32 ? tolerance : 1.0 / 256;
    for (std::size_t i = 0; i < wanted.values.size(); ++i) {
      const double w = wanted.values[i], g = got.values[i];
      CAPTURE(name_of(dtype));
      CAPTURE(i);
      CAPTURE(w);
      CAPTURE(g);
      const bool same = w == g || (std::isnan(w) && std::isnan(g)) ||
                        std::abs(g - w) <= allowed * std::max(1.0, std::abs(w));
      CHECK(same);
    }
  }
}

Function gradient_of(Tensor (*f)(const Tensor&)) {
  return [f](const Tensors& in) {
    const Tensor x = parameter(in[0]);
    return grad<1>(sum(f(x)), {x})[0];
  };
}

}  // namespace

TEST_CASE("device: NaN is never hidden, infinities go through") {
  if (!testing::device_answers()) return;
  const std::vector<double> a = {not_a_number, 1, inf, -inf, -3, 0, 2.5, not_a_number, 8},
                            b = {1, not_a_number, 1, -inf, inf, -0.5, 2.5, not_a_number, 1};
  for (Tensor (*f)(const Tensor&, const Tensor&) :
       {add, sub, mul, maximum, minimum, equal, less, less_equal}) {
    same_on_device([f](const Tensors& in) { return f(in[0], in[1]); }, {a, b});
  }
  for (Tensor (*f)(const Tensor&) : {relu, exp, abs, tanh, sigmoid, softplus, square}) {
    same_on_device([f](const Tensors& in) { return f(in[0]); }, {a});
  }
  same_on_device([](const Tensors& in) { return clamp(in[0], -1.0, 1.0); }, {a});
  same_on_device([](const Tensors& in) { return where(in[0] > 0.0, in[1], in[0]); }, {a, b});
}

TEST_CASE("device: a reduction gives NaN for a NaN anywhere, and keeps infinities") {
  if (!testing::device_answers()) return;
  for (const std::int64_t n : {5, 300, 5000}) {
    for (const double special : {not_a_number, inf, -inf}) {
      for (const std::int64_t at : {std::int64_t{0}, n / 2, n - 1}) {
        std::vector<double> x(static_cast<std::size_t>(3 * n), -2.0);
        x[static_cast<std::size_t>(n + at)] = special;
        for (const bool rows : {true, false}) {
          const auto shaped = [=](const Tensors& in) {
            return rows ? reshape(in[0], Shape{3, n})
                        : reshape(permute(reshape(in[0], Shape{3, n}), {1, 0}), Shape{n, 3});
          };
          const std::vector<int> axes = {rows ? 1 : 0};
          same_on_device([=](const Tensors& in) { return max(shaped(in), axes); }, {x});
          same_on_device([=](const Tensors& in) { return sum(shaped(in), axes); }, {x});
        }
      }
    }
  }
  same_on_device([](const Tensors& in) { return logsumexp(in[0]); }, {{-inf, -inf}});
  same_on_device([](const Tensors& in) { return logsumexp(in[0]); }, {{inf, 0}});
  same_on_device([](const Tensors& in) { return logsumexp(in[0]); }, {{1000, 1000}});
}

TEST_CASE("device: order statistics are elements of the row, to the bit, in f32 and bf16") {
  if (!testing::device_answers()) return;
  Rng rng(3, Purpose::test);
  std::vector<double> row = randn(rng, {301}, DType::f64).to_vector<double>();
  row.insert(row.end(), {0, -0.0, 1, 1, -1, -1, -1, inf, -inf, 1e-40, -1e-40});
  const auto last = static_cast<double>(row.size() - 1);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor x = cast(Tensor::from(row, {1, static_cast<std::int64_t>(row.size())}), dtype);
    for (std::int64_t k = 0; k < x.size(1); k += 13) {
      const double q = static_cast<double>(k) / last;
      const bool exact = q * last == static_cast<double>(k);  // else it is between two elements
      const double wanted = quantile(cast(x, DType::f64), q).item();
      const double got = cast(quantile(x.to(Device::cuda()), q), DType::f32).item();
      CAPTURE(k);
      if (exact) CHECK(got == wanted);
    }
  }
  row[150] = not_a_number;
  same_on_device([](const Tensors& in) { return quantile(in[0], 0.3); }, {row});
}

TEST_CASE("device: softmax does not overflow; hidden elements get nothing; a hidden row is NaN") {
  if (!testing::device_answers()) return;
  for (const std::size_t n :
       {std::size_t{3}, std::size_t{40}, std::size_t{256}, std::size_t{2000}}) {
    const Function f = [](const Tensors& in) { return softmax(in[0]); };
    std::vector<double> x(n, -inf);
    same_on_device(f, {x});
    x[n - 1] = 1000;
    same_on_device(f, {x});
    x[0] = 1000;
    same_on_device(f, {x});
    x[n / 2] = inf;
    same_on_device(f, {x});
    x[n / 2] = not_a_number;
    same_on_device(f, {x});
  }
}

TEST_CASE("device: derivatives at kinks and far out are the CPU's") {
  if (!testing::device_answers()) return;
  for (Tensor (*f)(const Tensor&) : {abs, relu, softplus, sigmoid, silu, tanh}) {
    same_on_device(gradient_of(f), {{-800, -1, 0, 1, 800}});
  }
  same_on_device(gradient_of([](const Tensor& x) { return clamp(x, 0.0, 1.0); }),
                 {{-1, 0, 0.5, 1, 2}});
  same_on_device(gradient_of([](const Tensor& x) { return max(x); }), {{1, 3, 3, 2}});
}

TEST_CASE("device: many small terms keep their digits") {
  if (!testing::device_answers()) return;
  const Tensor x = Tensor::full({300, 1000}, 0.1, DType::f32, Device::cuda());
  const double exact = 300e3 * static_cast<double>(0.1f);
  CHECK(sum(x).item() == doctest::Approx(exact).epsilon(1e-6));
  CHECK(sum(sum(x, {0})).item() == doctest::Approx(exact).epsilon(1e-6));
}

TEST_CASE("device: fill sets every element and no other, in every dtype") {
  if (!testing::device_answers()) return;
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i64, DType::u8}) {
    for (const std::int64_t offset : {0, 1, 3}) {
      for (const std::int64_t n : {0, 1, 15, 16, 37}) {
        Tensor home = Tensor::zeros({n + offset + 5}, dtype, Device::cuda());
        home.view({n}, offset).fill(3.0);
        const Array got = to_array(home);
        for (std::int64_t i = 0; i < home.numel(); ++i) {
          const double wanted = i >= offset && i < offset + n ? 3.0 : 0.0;
          CHECK(got.values[static_cast<std::size_t>(i)] == wanted);
        }
      }
    }
  }
}

TEST_CASE("device: every dtype converts to every other as on the CPU") {
  if (!testing::device_answers()) return;
  const std::vector<DType> all = {DType::f32, DType::f64, DType::bf16, DType::i64, DType::u8};
  // 257 and 259 round to 256 and 260 in bf16 (to even); 2.75 is cut to 2.
  const Tensor exact = Tensor::from<double>(
      {0, 1, 2.75, 3, 100, 127.5, 128, 200, 254, 255, 255.5, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {20});
  for (const DType from : all) {
    const Tensor x = cast(exact, from);
    for (const DType to : all) {
      for (const std::int64_t offset : {0, 1}) {
        const Tensor got = cast(shifted(x.to(Device::cuda()), offset), to);
        CHECK(got.dtype() == to);
        CHECK(same_bits(got, cast(x, to)));
      }
    }
  }
  const Tensor fine = Tensor::from<float>({257, 259, -257, 1e-40f, 3.4e38f}, {5});
  CHECK(same_bits(cast(fine.to(Device::cuda()), DType::bf16), cast(fine, DType::bf16)));
}

TEST_CASE("device: elements of every dtype can be moved") {
  if (!testing::device_answers()) return;
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i64, DType::u8}) {
    for (const std::int64_t width : {1, 3, 16}) {
      std::vector<double> values(static_cast<std::size_t>(6 * width));
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
      const Tensor x = cast(Tensor::from(values, {2, 3, width}), dtype);
      const Tensor ids = Tensor::from<std::int64_t>({1, 0, 1}, {3});
      for (const auto& f : std::vector<std::function<Tensor(const Tensor&)>>{
               [](const Tensor& t) {
                 return permute(t, {2, 1, 0});
               },
               [](const Tensor& t) {
                 return permute(t, {1, 0, 2});
               },
               [](const Tensor& t) { return slice(t, 1, 1, 3); },
               [](const Tensor& t) { return pad(t, 1, 1, 2, 7.0); },
               [](const Tensor& t) {
                 return concat({t, t}, 2);
               },
               [](const Tensor& t) {
                 return expand(slice(t, 2, 0, 1), {2, 3, 16});
               },
               [&](const Tensor& t) { return gather(t, ids.to(t.device())); }}) {
        CHECK(same_bits(f(x.to(Device::cuda())), f(x)));
      }
    }
  }
}

TEST_CASE("device: an index out of range gives NaN while a graph is recorded, an error otherwise") {
  if (!testing::device_answers()) return;
  const Tensor table = Tensor::full({4, 3}, 2.0, DType::f32, Device::cuda());
  const Tensor numbers = Tensor::full({4, 3}, 2.0, DType::i64, Device::cuda());
  Tensor ids = Tensor::zeros({3}, DType::i64, Device::cuda());
  const Tensor bad = Tensor::from<std::int64_t>({1, 4, -1}, {3});
  Tensor rows, whole, hot;
  CudaGraph graph(Device::cuda(), [&] {
    rows = gather(table, ids);
    whole = gather(numbers, ids);
    hot = one_hot(ids, 4);
  });
  graph.run();
  graph.run();
  ids.assign(bad.to(Device::cuda()));
  graph.run();
  const auto row = rows.to_vector<float>(), one = hot.to_vector<float>();
  for (std::size_t c = 0; c < 3; ++c) {
    CHECK(row[c] == 2.0f);
    CHECK(std::isnan(row[3 + c]));
    CHECK(std::isnan(row[6 + c]));
  }
  CHECK(whole.to_vector<std::int64_t>() == std::vector<std::int64_t>{2, 2, 2, 0, 0, 0, 0, 0, 0});
  for (std::size_t c = 0; c < 4; ++c) {
    CHECK(one[c] == (c == 1 ? 1.0f : 0.0f));
    CHECK(std::isnan(one[4 + c]));
    CHECK(std::isnan(one[8 + c]));
  }
  CHECK_THROWS_AS(gather(table, ids), ValueError);
  CHECK_THROWS_AS(one_hot(ids, 4), ValueError);
}
