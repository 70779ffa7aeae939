// Samples of many elements, sent in blocks: candidates for all of an image at once would have to be
// 2^KL, so an image is cut into blocks of a few bits each, and each sends one number.
//
//   const std::vector<float> shift(784, 0.5f), scale(784, 0.8f);      // q of one image
//   std::uint32_t blocks = 1;
//   codec::RangeEncoder out;
//   codec::BlockCoder send(out, seed, /*elements=*/784);
//   const codec::ImageTarget q = send.target(shift.data(), scale.data());
//   const std::vector<float> z = send.sample(/*place=*/0, blocks, &q);
//
// The receiver, which does not know q, gets the same z:
//
//   const std::vector<std::uint8_t> bytes = out.finish();
//   codec::RangeDecoder in(bytes, "message");
//   codec::BlockCoder receive(in, seed, 784);
//   std::uint32_t received_blocks = 1;
//   const std::vector<float> same = receive.sample(0, received_blocks);
//
// Blocks are equal runs in a random order of the elements that both sides know, so that they share
// the divergence fairly. How many there are is sent too.
#pragma once

#include <cstdint>
#include <vector>

#include "diffusion/likelihood/codec/range_coder.h"
#include "diffusion/likelihood/codec/sample_coder.h"

namespace ito::codec {

/// q = N(shift, diag(scale^2)) of one image in the units of p, elements in the order of blocks.
struct ImageTarget {
  std::vector<float> shift, scale;
  std::vector<double> bits = {0.0};  ///< divergence of the elements before each, [d + 1]

  double divergence() const { return bits.back(); }
};

template <class Coder>
class BlockCoder {
 public:
  /// `block_bits` is the sender's. Throws ValueError unless it is above 0 and at most 16.
  BlockCoder(Coder& coder, std::uint64_t seed, std::int64_t elements, double block_bits = 12.0);

  std::int64_t elements() const { return static_cast<std::int64_t>(order_.size()); }
  /// Puts an image's shift and scale in order.
  ImageTarget target(const float* shift, const float* scale) const;

  /// z ~ q for one image in its own order, f32 [elements], in `blocks` blocks: before the call how
  /// many the image took the last time, or 1. The candidates are those at `place` and the
  /// `elements` places from there on. `target` is null when receiving.
  std::vector<float> sample(std::uint64_t place, std::uint32_t& blocks,
                            const ImageTarget* target = nullptr);

 private:
  std::uint32_t candidates(double bits) const;

  Coder& coder_;
  Rng shared_;
  double block_bits_;
  std::vector<std::int64_t> order_;
  std::vector<NumberModel> count_;  // of blocks, by the length of the count before
  NumberModel candidate_[2];        // its number, in one block or several
};

}  // namespace ito::codec
