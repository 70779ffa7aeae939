// Division by a number that is known at the launch of a kernel, as a multiplication by its
// reciprocal (Granlund & Montgomery 1994, "Division by invariant integers using multiplication").
//
//   const FastDivmod row(width);                          // on the host
//   y = row.quotient(i), x = i - y * row.divisor;         // in the kernel
#pragma once

#include <cstdint>

#include "tensor/build.h"

namespace ito::cuda {

__extension__ using uint128 = unsigned __int128;

/// 64-bit numbers (fig. 4.1 of the paper, N = 64): about ten integer instructions, where a division
/// takes about a hundred.
struct FastDivmod {
  std::int64_t divisor = 1;
  std::uint64_t reciprocal = 1;
  int shift = 0;

  FastDivmod() = default;
  /// divisor >= 1
  explicit FastDivmod(std::int64_t d) : divisor(d) {
    while ((uint128{1} << shift) < static_cast<uint128>(d)) ++shift;
    const uint128 above = (uint128{1} << shift) - static_cast<uint128>(d);
    reciprocal = static_cast<std::uint64_t>((above << 64) / static_cast<uint128>(d) + 1);
  }
  /// n / divisor, n >= 0
  ITO_HOST_DEVICE std::int64_t quotient(std::int64_t n) const {
    const auto u = static_cast<std::uint64_t>(n);
    const auto high = static_cast<std::uint64_t>((uint128{reciprocal} * u) >> 64);
    return static_cast<std::int64_t>((high + u) >> shift);
  }
};

/// Numbers below 2^31, in three instructions: with 2^s >= d > 2^(s-1) and m = ceil(2^(31+s) / d),
/// n / d = n m / 2^(31+s) rounded down.
struct FastDivmod32 {
  unsigned divisor = 1, multiplier = 1u << 31, shift = 0;

  FastDivmod32() = default;
  /// divisor >= 1
  explicit FastDivmod32(std::int64_t d) : divisor(static_cast<unsigned>(d)) {
    while ((std::int64_t{1} << shift) < d) ++shift;
    multiplier =
        static_cast<unsigned>(((std::uint64_t{1} << (31 + shift)) + divisor - 1) / divisor);
  }
  /// n / divisor
  ITO_HOST_DEVICE unsigned quotient(unsigned n) const {
    return static_cast<unsigned>((std::uint64_t{2 * n} * multiplier) >> 32) >> shift;
  }
};

}  // namespace ito::cuda
