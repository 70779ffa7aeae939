#include "diffusion/likelihood/codec/pixel_coder.h"

#include <cmath>

namespace ito::codec {

PixelCoder::PixelCoder(float mean, double sigma)
    : mean_(std::isnan(mean) ? 0.0 : static_cast<double>(mean)),
      sigma_(sigma >= 1e-9 ? sigma : 1.0) {}

// 2 of the 2^24 places are given to each byte in advance: rounding may then move an edge by one
// place and still leave every byte one.
std::uint32_t PixelCoder::begin_of(int byte) const {
  if (byte == 0) return 0;
  if (byte == 256) return 1u << bits;
  const double edge = (2.0 * byte - 1.0) / 255.0 - 1.0;
  const double below = 0.5 * std::erfc((mean_ - edge) / (sigma_ * std::sqrt(2.0)));
  const double places = (1u << bits) - 512;
  return 2 * static_cast<std::uint32_t>(byte) + static_cast<std::uint32_t>(below * places);
}

Interval PixelCoder::interval(std::uint8_t byte) const {
  const std::uint32_t begin = begin_of(byte);
  return {begin, begin_of(byte + 1) - begin, bits};
}

std::uint8_t PixelCoder::byte_at(std::uint32_t place) const {
  int low = 0, high = 256;  // begin_of(low) <= place < begin_of(high)
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (begin_of(middle) <= place ? low : high) = middle;
  }
  return static_cast<std::uint8_t>(low);
}

double PixelCoder::cost(std::uint8_t byte) const { return bits - std::log2(interval(byte).size); }

}  // namespace ito::codec
