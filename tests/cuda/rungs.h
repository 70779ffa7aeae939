// For the tests of kernels' rungs: values that are exact in every type, arrays on the device at any
// offset, and the orders in which the emulated device runs blocks and threads.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <string>
#include <vector>

#include "tensor/rng.h"
#include "tensor/tensor.h"
#include "tests/devices.h"

#if ITO_EMULATED_DEVICE
#include "cuda/emulate/emulate.h"
#endif

namespace ito::testing {

using Values = std::vector<double>;

/// Multiples of 1/64 in [-1, 1], exact in bf16, plus `offset`.
inline Values random_values(std::int64_t count, std::uint64_t seed, double offset = 0.0) {
  Rng rng(seed, Purpose::test);
  Values values;
  const Tensor drawn = rand(rng, Shape{count}, DType::f32);
  for (const float v : drawn.to_vector<float>()) {
    values.push_back(offset + std::round(128.0 * static_cast<double>(v) - 64.0) / 64.0);
  }
  return values;
}

/// `values` on the device, `skip` elements into a block of memory: 0 is aligned for everything.
inline Tensor on_device(const Values& values, DType dtype, std::int64_t skip = 0) {
  const auto count = static_cast<std::int64_t>(values.size());
  Tensor home = Tensor::empty({count + skip}, dtype, Device::cuda());
  Tensor host = Tensor::empty({count}, dtype);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto v = static_cast<float>(values[i]);
    if (dtype == DType::f32) {
      host.mutable_data<float>()[i] = v;
    } else {
      host.mutable_data<bf16>()[i] = bf16(v);
    }
  }
  Tensor there = home.view({count}, skip);
  there.assign(host);
  return there;
}

/// `count` elements on the device, all NaN.
inline Tensor unset(std::int64_t count, DType dtype, std::int64_t skip = 0) {
  return on_device(Values(static_cast<std::size_t>(count), std::nan("")), dtype, skip);
}

inline Values on_host(const Tensor& t) {
  Values values;
  if (t.dtype() == DType::f32) {
    for (const float v : t.to_vector<float>()) values.push_back(static_cast<double>(v));
  } else {
    for (const bf16 v : t.to_vector<bf16>()) values.push_back(static_cast<double>(float(v)));
  }
  return values;
}

/// Half a unit in the last place of a stored number, relative.
inline double rounding_of(DType dtype) { return std::ldexp(1.0, dtype == DType::bf16 ? -8 : -24); }

inline double largest(const Values& values) {
  double most = 0.0;
  for (const double v : values) most = std::max(most, std::abs(v));
  return most;
}

/// |got - wanted| <= relative |wanted| + absolute for all elements; infinities must be equal.
inline void check_close(const std::string& what, const Values& got, const Values& wanted,
                        double relative, const Values& absolute) {
  REQUIRE(got.size() == wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (got[i] == wanted[i]) continue;
    const double bound = relative * std::abs(wanted[i]) + absolute[i];
    if (std::abs(got[i] - wanted[i]) <= bound) continue;
    FAIL_CHECK(fmt::format("{}: element {} of {} must be {} (to {:.2g}); got {}", what, i,
                           wanted.size(), wanted[i], bound, got[i]));
    return;
  }
}
inline void check_close(const std::string& what, const Values& got, const Values& wanted,
                        double relative, double absolute) {
  check_close(what, got, wanted, relative, Values(wanted.size(), absolute));
}

/// Calls f under every order of blocks and threads that the emulated device knows; on a GPU twice.
template <class F>
void for_each_order(F f) {
#if ITO_EMULATED_DEVICE
  using emulate::Order;
  for (const Order order : {Order::reversed, Order::shuffled, Order::forward}) {
    emulate::set_order(order);
    f();
  }
#else
  f(), f();
#endif
}

}  // namespace ito::testing
