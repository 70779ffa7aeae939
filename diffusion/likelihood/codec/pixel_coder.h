// The last step of the reverse process as probabilities of bytes: N(mean, sigma^2) cut into 256
// bins, which is the decoder of Ho et al. 2020 (arXiv 2006.11239, eq. 13).
//
//   const codec::PixelCoder pixel(/*mean=*/0.2f, /*sigma=*/0.01);
//   codec::RangeEncoder out;
//   out.symbol(pixel.interval(153));
//   const std::vector<std::uint8_t> bytes = out.finish();
//   codec::RangeDecoder in(bytes, "message");
//   const std::uint8_t byte = pixel.byte_at(in.peek(codec::PixelCoder::bits));      // 153
//   in.symbol(pixel.interval(byte));
#pragma once

#include <cstdint>

#include "diffusion/likelihood/codec/range_coder.h"

namespace ito::codec {

/// A byte k stands for x = k / 127.5 - 1. Its bin is (x - 1/255, x + 1/255); those of 0 and 255 are
/// open outwards. Each byte keeps a probability of at least 2^-24, so every image can be sent.
class PixelCoder {
 public:
  static constexpr int bits = 24;

  /// sigma >= 1e-9; anything else counts as 1, and a mean that is not a number as 0: what a network
  /// put out of order still sends, at a price.
  PixelCoder(float mean, double sigma);

  Interval interval(std::uint8_t byte) const;
  /// The byte in whose interval `place` < 2^bits lies.
  std::uint8_t byte_at(std::uint32_t place) const;
  /// What sending the byte costs, in bits.
  double cost(std::uint8_t byte) const;

 private:
  std::uint32_t begin_of(int byte) const;

  double mean_, sigma_;
};

}  // namespace ito::codec
