// Arithmetic coding: symbols to bits at the price of their probability (Martin 1979, "range
// encoding", on 64 bits with the carry run back into the bytes that are already out).
//
//   codec::RangeEncoder out;
//   codec::AdaptiveBit sent;
//   out.bit(sent, true);
//   out.symbol({3, 2, 4});                // the part [3, 5) of [0, 16)
//   const std::vector<std::uint8_t> bytes = out.finish();
//
//   codec::RangeDecoder in(bytes, "photo.ito");
//   codec::AdaptiveBit received;
//   in.bit(received);                     // true
//   in.peek(4);                           // 3 or 4: which symbol it is
//   in.symbol({3, 2, 4});
//
// The two have the same calls, so that one template says what is sent and what is received:
// whatever the encoder is given, it returns, and the decoder ignores its argument and returns what
// was sent. See code_number.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace ito::codec {

/// The part [begin, begin + size) of [0, 2^bits): a symbol of probability size / 2^bits. size >= 1,
/// bits <= 32.
struct Interval {
  std::uint32_t begin, size;
  int bits;
};

/// The probability of a yes, learned from those that were seen: the mean of a slow and a quick
/// average.
class AdaptiveBit {
 public:
  /// Of a yes, in 1 / 65536, never 0 or 1.
  std::uint32_t probability() const { return (slow_ + quick_) / 2; }
  void update(bool yes) {
    const std::int32_t goal = yes ? 65535 - 64 : 64;
    slow_ = static_cast<std::uint32_t>(static_cast<std::int32_t>(slow_) +
                                       (goal - static_cast<std::int32_t>(slow_)) / 64);
    quick_ = static_cast<std::uint32_t>(static_cast<std::int32_t>(quick_) +
                                        (goal - static_cast<std::int32_t>(quick_)) / 16);
  }

 private:
  std::uint32_t slow_ = 32768, quick_ = 32768;
};

class RangeEncoder {
 public:
  void symbol(const Interval& interval);
  bool bit(AdaptiveBit& model, bool yes);
  /// The `count` low bits of `value`, each at the price of one. count <= 32.
  std::uint32_t plain(int count, std::uint32_t value);

  /// What was sent so far, in bits with their fractions; bytes() is at most 8 bits more.
  double bits() const;
  /// Ends the message.
  std::vector<std::uint8_t> finish();

 private:
  void carry();

  std::vector<std::uint8_t> out_;
  std::uint64_t low_ = 0, range_ = ~std::uint64_t{0};
};

class RangeDecoder {
 public:
  /// The bytes must outlive the decoder; `name` stands for them in messages.
  RangeDecoder(std::span<const std::uint8_t> bytes, std::string name);

  /// A number below 2^bits in the interval of the next symbol...
  std::uint32_t peek(int bits) const;
  /// ...and on to the one after it. Throws FormatError at the end of the bytes.
  void symbol(const Interval& interval);
  bool bit(AdaptiveBit& model, bool ignored = false);
  std::uint32_t plain(int count, std::uint32_t ignored = 0);

  /// Throws FormatError unless the message ends here.
  void finish() const;

 private:
  std::uint64_t next_byte();

  std::span<const std::uint8_t> bytes_;
  std::string name_;
  std::size_t read_ = 0;
  std::uint64_t code_ = 0, range_ = ~std::uint64_t{0};
};

/// Whole numbers >= 1 of unknown size: how many bits they have is learned, and so is their second
/// highest bit; the others are sent as they are.
struct NumberModel {
  std::array<AdaptiveBit, 32> length;
  std::array<AdaptiveBit, 32> second;
};

/// Sends `number`, 1 <= number < 2^32, or receives it.
template <class Coder>
std::uint32_t code_number(Coder& coder, NumberModel& model, std::uint32_t number = 1) {
  const auto bit_length = static_cast<std::uint32_t>(std::bit_width(number)) - 1;
  std::uint32_t node = 1;  // of a tree with 32 leaves
  for (int level = 4; level >= 0; --level) {
    node = 2 * node + (coder.bit(model.length[node], (bit_length >> level) % 2 == 1) ? 1 : 0);
  }
  const std::uint32_t below = node - 32;  // bits after the highest, which is 1
  if (below == 0) return 1;
  const bool second = coder.bit(model.second[below], (number >> (below - 1)) % 2 == 1);
  const auto rest = coder.plain(static_cast<int>(below) - 1, number);
  return (second ? 3u : 2u) << (below - 1) | rest;
}

/// Numbers from 0 to 15, whose probabilities are learned.
struct NibbleModel {
  std::array<AdaptiveBit, 16> tree;
};

template <class Coder>
int code_nibble(Coder& coder, NibbleModel& model, int number = 0) {
  std::uint32_t node = 1;
  for (int level = 3; level >= 0; --level) {
    node = 2 * node + (coder.bit(model.tree[node], (number >> level) % 2 == 1) ? 1 : 0);
  }
  return static_cast<int>(node) - 16;
}

}  // namespace ito::codec
