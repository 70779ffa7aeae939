#include "diffusion/likelihood/codec/range_coder.h"

#include <cmath>
#include <utility>

#include "tensor/error.h"

namespace ito::codec {
namespace {

constexpr std::uint64_t smallest_range = std::uint64_t{1} << 56;  // a byte goes out below this

Interval interval_of(const AdaptiveBit& model, bool yes) {
  const std::uint32_t p = model.probability();
  return yes ? Interval{0, p, 16} : Interval{p, 65536 - p, 16};
}

}  // namespace

void RangeEncoder::symbol(const Interval& interval) {
  const std::uint64_t unit = range_ >> interval.bits;
  const std::uint64_t begin = unit * interval.begin;
  low_ += begin;
  if (low_ < begin) carry();
  range_ = unit * interval.size;
  for (; range_ < smallest_range; range_ <<= 8, low_ <<= 8) {
    out_.push_back(static_cast<std::uint8_t>(low_ >> 56));
  }
}

void RangeEncoder::carry() {
  // Ends in front of the first byte: the message is a number below 1.
  for (std::size_t i = out_.size(); ++out_[--i] == 0;) {
  }
}

bool RangeEncoder::bit(AdaptiveBit& model, bool yes) {
  symbol(interval_of(model, yes));
  model.update(yes);
  return yes;
}

std::uint32_t RangeEncoder::plain(int count, std::uint32_t value) {
  const auto mask = static_cast<std::uint32_t>((std::uint64_t{1} << count) - 1);
  symbol({value & mask, 1, count});
  return value & mask;
}

double RangeEncoder::bits() const {
  return 8.0 * static_cast<double>(out_.size()) + 64.0 - std::log2(static_cast<double>(range_));
}

std::vector<std::uint8_t> RangeEncoder::finish() {
  // The one byte that, followed by zeros, lies in [low, low + range).
  const std::uint64_t end = low_ + (smallest_range - 1);
  if (end < low_) carry();
  out_.push_back(static_cast<std::uint8_t>(end >> 56));
  return std::move(out_);
}

RangeDecoder::RangeDecoder(std::span<const std::uint8_t> bytes, std::string name)
    : bytes_(bytes), name_(std::move(name)) {
  for (int i = 0; i < 8; ++i) code_ = code_ << 8 | next_byte();
}

std::uint64_t RangeDecoder::next_byte() {
  // The encoder's last byte is followed by zeros that were not sent.
  if (read_ >= bytes_.size() + 7) fail<FormatError>("{}: ends early", name_);
  const std::uint64_t byte = read_ < bytes_.size() ? bytes_[read_] : 0;
  ++read_;
  return byte;
}

std::uint32_t RangeDecoder::peek(int bits) const {
  const std::uint64_t place = code_ / (range_ >> bits), last = (std::uint64_t{1} << bits) - 1;
  return static_cast<std::uint32_t>(std::min(place, last));
}

void RangeDecoder::symbol(const Interval& interval) {
  const std::uint64_t unit = range_ >> interval.bits;
  code_ -= unit * interval.begin;
  range_ = unit * interval.size;
  for (; range_ < smallest_range; range_ <<= 8) code_ = code_ << 8 | next_byte();
}

bool RangeDecoder::bit(AdaptiveBit& model, bool) {
  const bool yes = peek(16) < model.probability();
  symbol(interval_of(model, yes));
  model.update(yes);
  return yes;
}

std::uint32_t RangeDecoder::plain(int count, std::uint32_t) {
  const std::uint32_t value = peek(count);
  symbol({value, 1, count});
  return value;
}

void RangeDecoder::finish() const {
  if (read_ != bytes_.size() + 7) fail<FormatError>("{}: has bytes after its end", name_);
}

}  // namespace ito::codec
