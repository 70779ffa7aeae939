// The instructions of a warp, computed once all their lanes have arrived.
#include <array>
#include <bit>
#include <cstring>

#include "cuda/emulate/block.h"

namespace ito::emulate {
namespace {

using Calls = Rendezvous* const (&)[warp_lanes];

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
void shuffle(Calls calls, unsigned lanes) {
  std::uint32_t values[warp_lanes][2];
  std::memset(values, 0xff, sizeof(values));
  for_lanes(lanes, [&](int lane) { copy(values[lane], calls[lane]->value, calls[lane]->size); });
  for_lanes(lanes, [&](int lane) {
    Rendezvous& m = *calls[lane];
    copy(m.value, values[m.source & 31], m.size);
  });
}

void vote(Calls calls, unsigned lanes) {
  unsigned ballot = 0;
  for_lanes(lanes, [&](int lane) { ballot |= (calls[lane]->word & 1u) << lane; });
  for_lanes(lanes, [&](int lane) { calls[lane]->word = ballot; });
}

// Lane i has brought row i % 8 of matrix i / 8. Lane l gets from each matrix m the elements
// 2 (l % 4) and 2 (l % 4) + 1 of row l / 4, or, transposed, rows 2 (l % 4) and 2 (l % 4) + 1 of
// column l / 4.
void ldmatrix(Calls calls, unsigned lanes) {
  std::uint16_t matrix[4][8][8];
  for_lanes(lanes, [&](int lane) {
    copy(matrix[lane / 8][lane % 8], calls[lane]->value, sizeof(matrix[0][0]));
  });
  for_lanes(lanes, [&](int lane) {
    const bool transposed = calls[lane]->source != 0;
    const int g = lane / 4, t = lane % 4;
    auto* out = static_cast<std::uint32_t*>(calls[lane]->value);
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
void mma(Calls calls, unsigned lanes) {
  float a[16][16], b[16][8], d[16][8];
  for_lanes(lanes, [&](int lane) {
    const int g = lane / 4, t = lane % 4;
    const Rendezvous& m = *calls[lane];
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
    auto* fd = static_cast<float*>(calls[lane]->value);
    for (int i = 0; i < 4; ++i) fd[i] = d[g + 8 * (i / 2)][2 * t + i % 2];
  });
}

}  // namespace

void complete(Calls calls, unsigned lanes) {
  switch (calls[std::countr_zero(lanes)]->kind) {
    case WarpOp::sync:
      return;
    case WarpOp::shuffle:
      return shuffle(calls, lanes);
    case WarpOp::vote:
      return vote(calls, lanes);
    case WarpOp::ldmatrix:
      return ldmatrix(calls, lanes);
    case WarpOp::mma:
      return mma(calls, lanes);
  }
}

}  // namespace ito::emulate
