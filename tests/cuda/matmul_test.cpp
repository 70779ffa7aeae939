// kernel::Matmul on the device against sums in f64, beyond the shapes that matmul and linear ask
// for.
#include "tensor/kernels/matmul.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "tensor/cuda_graph.h"
#include "tensor/launch.h"
#include "tensor/rng.h"
#include "tests/devices.h"

using namespace ito;

namespace {

std::vector<double> numbers(const Tensor& t) {
  std::vector<double> v;
  if (t.dtype() == DType::bf16) {
    for (const bf16 x : t.to_vector<bf16>()) v.push_back(static_cast<float>(x));
  } else {
    for (const float x : t.to_vector<float>()) v.push_back(x);
  }
  return v;
}

struct Case {
  std::int64_t batch, m, n, k;
  bool one_a, one_b;  // one matrix for the whole batch
};

// The largest error, in units of the rounding of a result of size 1 + sum |a b|.
double error_of(const Case& c, bool transpose_a, bool transpose_b, bool with_bias, DType dtype) {
  const Device device = Device::cuda();
  Rng rng(1, Purpose::test);
  const Tensor a = randn(rng, {c.one_a ? 1 : c.batch, c.m * c.k}, dtype, device);
  const Tensor b = randn(rng, {c.one_b ? 1 : c.batch, c.k * c.n}, dtype, device);
  const Tensor bias = randn(rng, {c.n}, dtype, device);
  Tensor y = Tensor::full({c.batch, c.m, c.n}, NAN, dtype, device);
  launch<kernel::Matmul>(device, {a.raw(), b.raw(), with_bias ? bias.raw() : nullptr,
                                  y.mutable_raw(), c.batch, c.m, c.n, c.k, c.one_a ? 0 : c.m * c.k,
                                  c.one_b ? 0 : c.k * c.n, transpose_a, transpose_b, dtype});
  const auto va = numbers(a), vb = numbers(b), vbias = numbers(bias), vy = numbers(y);
  const double unit = dtype == DType::bf16 ? 0x1p-8 : 0x1p-23;
  double worst = 0.0;
  for (std::int64_t i = 0; i < c.batch * c.m * c.n; ++i) {
    const std::int64_t matrix = i / (c.m * c.n), row = i / c.n % c.m, column = i % c.n;
    const double* pa = va.data() + (c.one_a ? 0 : matrix * c.m * c.k);
    const double* pb = vb.data() + (c.one_b ? 0 : matrix * c.k * c.n);
    double sum = with_bias ? vbias[static_cast<std::size_t>(column)] : 0.0, size = 1.0;
    for (std::int64_t j = 0; j < c.k; ++j) {
      const double product = pa[transpose_a ? j * c.m + row : row * c.k + j] *
                             pb[transpose_b ? column * c.k + j : j * c.n + column];
      sum += product;
      size += std::abs(product);
    }
    const double error = std::abs(vy[static_cast<std::size_t>(i)] - sum) / (unit * size);
    if (!(error <= worst)) worst = error;  // NaN, too
  }
  return worst;
}

}  // namespace

TEST_CASE("Matmul on the device: every transposition, batch, bias and dtype") {
  if (!testing::device_answers()) return;
  for (const Case c : {Case{1, 5, 7, 3, false, false}, Case{3, 4, 8, 6, false, false},
                       Case{3, 4, 5, 6, true, false}, Case{3, 4, 5, 6, false, true},
                       Case{2, 1, 1, 17, false, false}, Case{1, 33, 40, 65, false, false},
                       Case{4, 1, 9, 1, true, true}}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (int flags = 0; flags < 8; ++flags) {
        const bool ta = (flags & 1) != 0, tb = (flags & 2) != 0, bias = (flags & 4) != 0;
        CAPTURE(name_of(dtype));
        CAPTURE(flags);
        CAPTURE(c.m);
        CHECK(error_of(c, ta, tb, bias, dtype) < 2.0);
      }
    }
  }
}

TEST_CASE("Matmul on the device: sums of nothing are the bias or zero, empty results nothing") {
  if (!testing::device_answers()) return;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const bool bias : {false, true}) {
      CHECK(error_of({2, 3, 16, 0, false, false}, false, false, bias, dtype) == 0.0);
      CHECK(error_of({2, 3, 5, 0, false, false}, true, true, bias, dtype) == 0.0);
      CHECK(error_of({0, 3, 5, 4, false, false}, false, false, bias, dtype) == 0.0);
      CHECK(error_of({2, 0, 5, 4, false, false}, false, false, bias, dtype) == 0.0);
      CHECK(error_of({2, 3, 0, 4, false, false}, false, false, bias, dtype) == 0.0);
    }
  }
}

TEST_CASE("Matmul on the device: part of a recorded graph") {
  if (!testing::device_answers()) return;
  const Device device = Device::cuda();
  Tensor a = Tensor::full({2, 3}, 1.0, DType::f32, device);
  const Tensor b = Tensor::full({3, 2}, 2.0, DType::f32, device);
  const Tensor bias = Tensor::full({2}, 0.5, DType::f32, device);
  Tensor y = Tensor::zeros({2, 2}, DType::f32, device);
  CudaGraph graph(device, [&] {
    launch<kernel::Matmul>(device, {a.raw(), b.raw(), bias.raw(), y.mutable_raw(), 1, 2, 2, 3, 6, 6,
                                    false, false, DType::f32});
  });
  for (int run = 1; run <= 4; ++run) {
    a.fill(run);
    graph.run();
    CHECK(y.to_vector<float>() == std::vector<float>(4, 6.0f * static_cast<float>(run) + 0.5f));
  }
}

TEST_CASE("Matmul on the device: f64 is refused") {
  if (!testing::device_answers()) return;
  const Tensor a = Tensor::zeros({1, 1}, DType::f64, Device::cuda());
  Tensor y = Tensor::zeros({1, 1}, DType::f64, Device::cuda());
  CHECK_THROWS_WITH_AS(
      launch<kernel::Matmul>(Device::cuda(), {a.raw(), a.raw(), nullptr, y.mutable_raw(), 1, 1, 1,
                                              1, 1, 1, false, false, DType::f64}),
      "matmul: the device computes in f32 and bf16; got f64", DTypeError);
}
