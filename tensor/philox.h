// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): ten rounds
// that turn a 128-bit counter and a 64-bit key into 128 random bits. Shared by both halves of the
// kernels, so CPU and GPU draw the same bits.
//
//   const PhiloxKey key{.k0 = 42, .k1 = 0};
//   const PhiloxCounter bits = philox4x32({.c0 = 0, .c1 = 0, .c2 = 0, .c3 = 0}, key);
#pragma once

#include <array>
#include <cstdint>

#include "tensor/build.h"

namespace ito {

struct PhiloxKey {
  std::uint32_t k0, k1;
};
struct PhiloxCounter {
  std::uint32_t c0, c1, c2, c3;
};

ITO_HOST_DEVICE inline PhiloxCounter philox4x32(PhiloxCounter c, PhiloxKey k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c.c0;
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c.c2;
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c.c1 ^ k.k0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c.c3 ^ k.k1, static_cast<std::uint32_t>(p0)};
    k.k0 += 0x9E3779B9u;
    k.k1 += 0xBB67AE85u;
  }
  return c;
}

}  // namespace ito
