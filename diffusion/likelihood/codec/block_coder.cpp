#include "diffusion/likelihood/codec/block_coder.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "tensor/error.h"

namespace ito::codec {
namespace {}  // namespace

template <class Coder>
BlockCoder<Coder>::BlockCoder(Coder& coder, std::uint64_t seed, std::int64_t elements,
                              double block_bits)
    : coder_(coder),
      shared_(seed, Purpose::codec),
      block_bits_(block_bits),
      order_(permutation(shared_, elements)),
      count_(33) {
  if (!(block_bits > 0.0 && block_bits <= 16.0)) {
    fail<ValueError>("codec: bits per block must be above 0 and at most 16; got {}", block_bits);
  }
}

template <class Coder>
ImageTarget BlockCoder<Coder>::target(const float* shift, const float* scale) const {
  ImageTarget target;
  for (const std::int64_t i : order_) {
    target.shift.push_back(shift[i]);
    target.scale.push_back(scale[i]);
    target.bits.push_back(target.bits.back() + codec::divergence(shift[i], scale[i]));
  }
  return target;
}

template <class Coder>
std::vector<float> BlockCoder<Coder>::sample(std::uint64_t place, std::uint32_t& blocks,
                                             const ImageTarget* target) {
  const std::size_t d = order_.size();
  std::uint32_t wanted = 1;
  if (target != nullptr) {
    const double count = std::ceil(target->divergence() / block_bits_);
    wanted = static_cast<std::uint32_t>(std::clamp(count, 1.0, static_cast<double>(d)));
  }
  const auto context = static_cast<std::size_t>(std::bit_width(blocks));
  blocks = std::min(code_number(coder_, count_[context], wanted), static_cast<std::uint32_t>(d));
  std::vector<float> z(d);
  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t begin = b * d / blocks, end = (b + 1) * d / blocks, n = end - begin;
    std::uint32_t k = 1;
    if (target != nullptr) {
      const Target q{{&target->shift[begin], n}, {&target->scale[begin], n}};
      const double bits = target->bits[end] - target->bits[begin];
      k = choose_candidate(shared_, place + begin, q, candidates(bits));
    }
    k = code_number(coder_, candidate_[blocks == 1 ? 0 : 1], k);
    const Tensor chosen = candidate(shared_, place + begin, k, static_cast<std::int64_t>(n));
    for (std::size_t i = 0; i < n; ++i) {
      z[static_cast<std::size_t>(order_[begin + i])] = chosen.data<float>()[i];
    }
  }
  return z;
}

// How many candidates to look at: 16 times what the divergence asks for, so that the sample has the
// law of q nearly; less for a block that got much more than its share.
template <class Coder>
std::uint32_t BlockCoder<Coder>::candidates(double bits) const {
  return static_cast<std::uint32_t>(std::exp2(std::min(bits, block_bits_ + 2.0) + 4.0));
}

template class BlockCoder<RangeEncoder>;
template class BlockCoder<RangeDecoder>;

}  // namespace ito::codec
