// Division of sizes, for the host and for kernels.
//
//   const std::int64_t blocks = ceil_div(1000, 256);    // how many blocks cover 1000 elements: 4
//   const std::int64_t padded = round_up(100, 64);      // the next multiple of 64: 128
#pragma once

#include <concepts>
#include <type_traits>

#include "tensor/build.h"

namespace ito {

/// a / b rounded up, for a >= 0 and b > 0. a + b - 1 must not overflow.
template <std::integral A, std::integral B>
ITO_HOST_DEVICE constexpr auto ceil_div(A a, B b) {
  using T = std::common_type_t<A, B>;
  return (static_cast<T>(a) + static_cast<T>(b) - 1) / static_cast<T>(b);
}

/// The smallest multiple of b that is not below a, for a >= 0 and b > 0.
template <std::integral A, std::integral B>
ITO_HOST_DEVICE constexpr auto round_up(A a, B b) {
  return ceil_div(a, b) * static_cast<std::common_type_t<A, B>>(b);
}

}  // namespace ito
