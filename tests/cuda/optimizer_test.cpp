// The rungs of Adam and the passes over flat buffers, against the CPU in f64.
#include "cuda/optimizer.h"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "tensor/kernels/fill.h"
#include "tensor/launch.h"
#include "tensor/memory.h"
#include "tests/cuda/rungs.h"

using namespace ito;
using namespace ito::testing;

namespace {

using Rung = void (*)(const kernel::AdamStep::Args&);

// Rung 1: what the others are in one kernel.
void adam_separate(const kernel::AdamStep::Args& a) {
  kernel::AdamStep::Args alone = a;
  alone.average = nullptr;
  alone.copy = nullptr;
  cuda::adam_fused(alone);
  const Tensor scalars = Tensor::empty({7}, DType::f64);
  memory::copy(Device::cpu(), const_cast<void*>(scalars.raw()), Device::cuda(), a.scalars,
               sizeof(kernel::AdamScalars));
  const double decay = 1.0 - static_cast<const kernel::AdamScalars*>(scalars.raw())->average_rate;
  kernel::EmaStep::cuda({a.average, a.p, a.n, decay, a.dtype});
  kernel::Cast::cuda({a.p, a.copy, a.n, DType::f32, DType::bf16});
}

constexpr kernel::AdamScalars numbers{1e-3, 0.999, 1.7, 0.4, 0.03125, 2.5, 1.0};

Tensor scalars_on(Device device, const kernel::AdamScalars& s) {
  const auto* first = reinterpret_cast<const double*>(&s);
  return Tensor::from(std::span<const double>(first, sizeof(s) / sizeof(double)), {7}, device);
}

struct Inputs {
  Values p, grad, m, v, average;
  explicit Inputs(std::int64_t n)
      : p(random_values(n, 1)),
        grad(random_values(n, 2)),
        m(random_values(n, 3)),
        v(random_values(n, 4, 1.5)),
        average(random_values(n, 5)) {}
};

// p, m, v, average by the CPU in f64.
std::vector<Values> expected(const Inputs& in, const kernel::AdamScalars& s) {
  const auto n = static_cast<std::int64_t>(in.p.size());
  Tensor p = Tensor::from(in.p, {n}), m = Tensor::from(in.m, {n}), v = Tensor::from(in.v, {n});
  Tensor average = Tensor::from(in.average, {n});
  const Tensor grad = Tensor::from(in.grad, {n});
  kernel::AdamStep::cpu({p.mutable_raw(), grad.raw(), m.mutable_raw(), v.mutable_raw(),
                         average.mutable_raw(), nullptr, n, 0.9, 0.99, 1e-8, &s, DType::f64,
                         DType::f64});
  return {p.to_vector<double>(), m.to_vector<double>(), v.to_vector<double>(),
          average.to_vector<double>()};
}

struct Got {
  Tensor p, m, v, average, copy;
};
Got run(Rung rung, const Inputs& in, const kernel::AdamScalars& s, DType grad_dtype,
        std::int64_t skip) {
  const auto n = static_cast<std::int64_t>(in.p.size());
  Got got{on_device(in.p, DType::f32, skip), on_device(in.m, DType::f32, skip),
          on_device(in.v, DType::f32, skip), on_device(in.average, DType::f32, skip),
          unset(n, DType::bf16, skip)};
  const Tensor grad = on_device(in.grad, grad_dtype, skip);
  const Tensor scalars = scalars_on(Device::cuda(), s);
  rung({got.p.mutable_raw(), grad.raw(), got.m.mutable_raw(), got.v.mutable_raw(),
        got.average.mutable_raw(), got.copy.mutable_data<bf16>(), n, 0.9, 0.99, 1e-8,
        static_cast<const kernel::AdamScalars*>(scalars.raw()), DType::f32, grad_dtype});
  return got;
}

const std::pair<const char*, Rung> rungs[] = {
    {"separate", adam_separate}, {"fused", cuda::adam_fused}, {"vectors", cuda::adam_vectors}};

}  // namespace

TEST_CASE("every rung of Adam agrees with the CPU in f64; the bf16 copy is the rounding of p") {
  if (!device_answers()) return;
  for (const std::int64_t n : {1, 3, 64, 1027}) {
    const Inputs in(n);
    const auto wanted = expected(in, numbers);
    for (const DType grad_dtype : {DType::f32, DType::bf16}) {
      for (const std::int64_t skip : {0, 1}) {
        for (const auto& [name, rung] : rungs) {
          for_each_order([&, rung = rung, name = name] {
            const Got got = run(rung, in, numbers, grad_dtype, skip);
            // A handful of roundings of numbers of size 1.
            const double few = 8 * rounding_of(DType::f32);
            check_close(name, on_host(got.p), wanted[0], few, few);
            check_close(name, on_host(got.m), wanted[1], few, few);
            check_close(name, on_host(got.v), wanted[2], few, few);
            check_close(name, on_host(got.average), wanted[3], few, few);
            const auto copy = got.copy.to_vector<bf16>();
            const auto p = got.p.to_vector<float>();
            for (std::size_t i = 0; i < p.size(); ++i) CHECK(copy[i] == bf16(p[i]));
          });
        }
      }
    }
  }
}

TEST_CASE("the rungs of Adam give the same bits") {
  if (!device_answers()) return;
  const Inputs in(515);
  for (const DType grad_dtype : {DType::f32, DType::bf16}) {
    const Got one = run(adam_separate, in, numbers, grad_dtype, 0);
    for (const Rung rung : {cuda::adam_fused, cuda::adam_vectors}) {
      const Got other = run(rung, in, numbers, grad_dtype, 0);
      CHECK(other.p.to_vector<float>() == one.p.to_vector<float>());
      CHECK(other.m.to_vector<float>() == one.m.to_vector<float>());
      CHECK(other.v.to_vector<float>() == one.v.to_vector<float>());
      CHECK(other.average.to_vector<float>() == one.average.to_vector<float>());
      CHECK(other.copy.to_vector<bf16>() == one.copy.to_vector<bf16>());
    }
  }
}

TEST_CASE("a step that is skipped leaves every bit of the buffers") {
  if (!device_answers()) return;
  kernel::AdamScalars skipped = numbers;
  skipped.update = 0.0;
  const Inputs in(131);
  for (const Rung rung : {cuda::adam_fused, cuda::adam_vectors}) {
    const Got got = run(rung, in, skipped, DType::f32, 0);
    CHECK(on_host(got.p) == in.p);
    CHECK(on_host(got.m) == in.m);
    CHECK(on_host(got.v) == in.v);
    CHECK(on_host(got.average) == in.average);
    for (const double c : on_host(got.copy)) CHECK(std::isnan(c));
  }
}

TEST_CASE("SquaredNorm: the sum in f64, also of squares beyond f32, the same in every order") {
  if (!device_answers()) return;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const std::int64_t n : {0, 1, 7, 4099, 20000}) {
      for (const std::int64_t skip : {0, 1}) {
        Values x = random_values(n, 7);
        if (n > 0) x[0] = std::ldexp(1.0, 100);
        double wanted = 0.0;
        for (const double value : x) wanted += value * value;
        std::vector<double> sums;
        for_each_order([&] {
          Tensor y = Tensor::full({1}, -1.0, DType::f64, Device::cuda());
          const Tensor there = on_device(x, dtype, skip);
          launch<kernel::SquaredNorm>(Device::cuda(),
                                      {there.raw(), y.mutable_data<double>(), n, dtype});
          sums.push_back(y.item());
        });
        CHECK(sums[0] == doctest::Approx(wanted).epsilon(1e-12));
        for (const double sum : sums) CHECK(sum == sums[0]);
      }
    }
  }
}

TEST_CASE("FirstNonFinite: the smallest index on the device") {
  if (!device_answers()) return;
  const double inf = std::numeric_limits<double>::infinity();
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const std::vector<std::int64_t>& bad :
         {std::vector<std::int64_t>{}, {0}, {4999}, {4000, 300, 4999}}) {
      Values x = random_values(5000, 3);
      for (const std::int64_t i : bad) x[static_cast<std::size_t>(i)] = i % 2 == 0 ? -inf : NAN;
      const Tensor there = on_device(x, dtype);
      for_each_order([&] {
        Tensor index = Tensor::empty({1}, DType::i64, Device::cuda());
        launch<kernel::FirstNonFinite>(
            Device::cuda(), {there.raw(), index.mutable_data<std::int64_t>(), 5000, dtype});
        const double wanted =
            bad.empty() ? -1.0 : static_cast<double>(*std::min_element(bad.begin(), bad.end()));
        CHECK(index.item() == wanted);
      });
    }
  }
}

TEST_CASE("Adam on the device: other dtypes are refused by name") {
  if (!device_answers()) return;
  kernel::AdamStep::Args a{};
  a.dtype = DType::f64;
  CHECK_THROWS_WITH_AS(kernel::AdamStep::cuda(a),
                       "adam_step: parameters on the device must be f32; got f64", DTypeError);
}
