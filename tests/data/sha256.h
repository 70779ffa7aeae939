// SHA-256 (FIPS 180-4), to compare data sets with their published check values.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace support {

class Sha256 {
 public:
  void add(std::span<const std::uint8_t> bytes) {
    for (const std::uint8_t byte : bytes) {
      block_[length_++ % 64] = byte;
      if (length_ % 64 == 0) mix();
    }
  }
  /// Ends the message; call once.
  std::string hex() {
    const std::uint64_t bits = length_ * 8;
    const std::uint8_t one = 0x80, zero = 0;
    add({&one, 1});
    while (length_ % 64 != 56) add({&zero, 1});
    for (int shift = 56; shift >= 0; shift -= 8) {
      const auto byte = static_cast<std::uint8_t>(bits >> shift);
      add({&byte, 1});
    }
    std::string text;
    for (const std::uint32_t word : state_) {
      for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[word >> shift & 15u];
    }
    return text;
  }

 private:
  // The constants are the first 32 bits of the fractional parts of cube roots of primes; they are
  // worked out rather than listed.
  static const std::array<std::uint32_t, 64>& constants() {
    static const auto table = [] {
      std::array<std::uint32_t, 64> k{};
      std::size_t found = 0;
      for (std::uint64_t n = 2; found < k.size(); ++n) {
        bool prime = true;
        for (std::uint64_t d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
        if (!prime) continue;
        // floor(2^32 * cbrt(n)): the largest r with r^3 <= n * 2^96.
        __extension__ using u128 = unsigned __int128;
        std::uint64_t root = 0;
        for (int bit = 35; bit >= 0; --bit) {
          const std::uint64_t r = root | std::uint64_t{1} << bit;
          const u128 whole = u128{r} * r * r;
          if (r < (std::uint64_t{1} << 36) && whole <= (u128{n} << 96)) root = r;
        }
        k[found++] = static_cast<std::uint32_t>(root);
      }
      return k;
    }();
    return table;
  }

  void mix() {
    std::array<std::uint32_t, 64> w{};
    for (std::size_t i = 0; i < 16; ++i) {
      for (std::size_t b = 0; b < 4; ++b) w[i] = w[i] << 8 | block_[4 * i + b];
    }
    for (std::size_t i = 16; i < 64; ++i) {
      const std::uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + w[i - 7] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    auto [a, b, c, d, e, f, g, h] = state_;
    for (std::size_t i = 0; i < 64; ++i) {
      const std::uint32_t t1 = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                               ((e & f) ^ (~e & g)) + constants()[i] + w[i];
      const std::uint32_t t2 =
          (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    const std::array<std::uint32_t, 8> change = {a, b, c, d, e, f, g, h};
    for (std::size_t i = 0; i < 8; ++i) state_[i] += change[i];
  }

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> block_{};
  std::uint64_t length_ = 0;
};

}  // namespace support
