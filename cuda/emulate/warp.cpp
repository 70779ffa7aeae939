// What the lanes of a warp do together once all of them have come.
#include <array>
#include <bit>
#include <cstring>

#include "cuda/emulate/block.h"

namespace ito::emulate {
namespace {

using Meetings = Meeting* const (&)[warp_lanes];

// Calls f(lane) for each lane in the set.
template <class F>
void for_lanes(unsigned lanes, F&& f) {
  for (unsigned rest = lanes; rest != 0; rest &= rest - 1) f(std::countr_zero(rest));
}

// Not memcpy: the sanitizers would take it for the kernel's.
void copy(void* to, const void* from, unsigned bytes) {
  auto* t = static_cast<std::uint32_t*>(to);
  const auto* f = static_cast<const std::uint32_t*>(from);
  for (unsigned i = 0; i < bytes / 4; ++i) t[i] = f[i];
}

// A lane that is not there gives NaN.
void shuffle(Meetings meetings, unsigned lanes) {
  std::uint32_t values[warp_lanes][2];
  std::memset(values, 0xff, sizeof(values));
  for_lanes(lanes,
            [&](int lane) { copy(values[lane], meetings[lane]->value, meetings[lane]->size); });
  for_lanes(lanes, [&](int lane) {
    Meeting& m = *meetings[lane];
    copy(m.value, values[m.source & 31], m.size);
  });
}

void vote(Meetings meetings, unsigned lanes) {
  unsigned ballot = 0;
  for_lanes(lanes, [&](int lane) { ballot |= (meetings[lane]->word & 1u) << lane; });
  for_lanes(lanes, [&](int lane) { meetings[lane]->word = ballot; });
}

// Lane i has brought row i % 8 of matrix i / 8. Lane l gets from each matrix m the elements
// 2 (l % 4) and 2 (l % 4) + 1 of row l / 4, or, transposed, rows 2 (l % 4) and 2 (l % 4) + 1 of
// column l / 4.
void ldmatrix(Meetings meetings, unsigned lanes) {
  std::uint16_t matrix[4][8][8];
  for_lanes(lanes, [&](int lane) {
    copy(matrix[lane / 8][lane % 8], meetings[lane]->value, sizeof(matrix[0][0]));
  });
  for_lanes(lanes, [&](int lane) {
    const bool transposed = meetings[lane]->source != 0;
    const int g = lane / 4, t = lane % 4;
    auto* out = static_cast<std::uint32_t*>(meetings[lane]->value);
    for (int m = 0; m < 4; ++m) {
      const auto& rows = matrix[m];
      const unsigned low = transposed ? rows[2 * t][g] : rows[g][2 * t];
      const unsigned high = transposed ? rows[2 * t + 1][g] : rows[g][2 * t + 1];
      out[m] = low | high << 16;
    }
  });
}

float element(const std::uint32_t* fragment, int i) {
  const std::uint32_t word = fragment[i / 2];
  return std::bit_cast<float>(i % 2 == 0 ? word << 16 : word & 0xffff0000u);
}

// D += A B from the fragment tables of mma.m16n8k16 (cuda/ptx.h). Products of bf16 are exact in
// f32; the sums round, in the order of k.
void mma(Meetings meetings, unsigned lanes) {
  float a[16][16], b[16][8], d[16][8];
  for_lanes(lanes, [&](int lane) {
    const int g = lane / 4, t = lane % 4;
    const Meeting& m = *meetings[lane];
    const auto* fa = static_cast<const std::uint32_t*>(m.a);
    const auto* fb = static_cast<const std::uint32_t*>(m.b);
    const auto* fd = static_cast<const float*>(m.value);
    for (int i = 0; i < 8; ++i)
      a[g + 8 * ((i / 2) % 2)][2 * t + i % 2 + 8 * (i / 4)] = element(fa, i);
    for (int i = 0; i < 4; ++i) b[2 * t + i % 2 + 8 * (i / 2)][g] = element(fb, i);
    for (int i = 0; i < 4; ++i) d[g + 8 * (i / 2)][2 * t + i % 2] = fd[i];
  });
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < 16; ++k)
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
  for_lanes(lanes, [&](int lane) {
    const int g = lane / 4, t = lane % 4;
    auto* fd = static_cast<float*>(meetings[lane]->value);
    for (int i = 0; i < 4; ++i) fd[i] = d[g + 8 * (i / 2)][2 * t + i % 2];
  });
}

}  // namespace

void complete(Meetings meetings, unsigned lanes) {
  switch (meetings[std::countr_zero(lanes)]->kind) {
    case Together::sync:
      return;
    case Together::shuffle:
      return shuffle(meetings, lanes);
    case Together::vote:
      return vote(meetings, lanes);
    case Together::ldmatrix:
      return ldmatrix(meetings, lanes);
    case Together::mma:
      return mma(meetings, lanes);
  }
}

}  // namespace ito::emulate
