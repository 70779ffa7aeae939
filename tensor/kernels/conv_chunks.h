// The end of a gradient of a convolution to its weight: chunks of the images have each their own
// sums, and these are added in order, so that the result does not depend on the threads.
#pragma once

#include <algorithm>

#include "tensor/kernels/conv_shape.h"
#include "tensor/kernels/pack.h"
#include "tensor/parallel.h"

namespace ito::kernel {

/// dw[o][tap][i] = sum over chunks of sums[chunk][tap][i][o - first] for block b of outputs and one
/// tap; `sums` points at the block in the first chunk.
template <class T>
void add_chunks_of_tap(const ConvShape& s, const T* sums, Index chunks, Index chunk_step, Index b,
                       Index tap, T* dw) {
  const Index room = block_room<T>(s.out, b), valid = block_valid<T>(s.out, b);
  const Index taps = s.kh * s.kw;
  constexpr Index strip = 16;
  T total[strip * block_width<T>];
  for (Index i0 = 0; i0 < s.in; i0 += strip) {
    const Index count = std::min(strip, s.in - i0);
    const T* from = sums + (tap * s.in + i0) * room;
    std::copy_n(from, count * room, total);
    for (Index c = 1; c < chunks; ++c) {
      for (Index j = 0; j < count * room; ++j) total[j] += from[c * chunk_step + j];
    }
    for (Index o = 0; o < valid; ++o) {
      T* to = dw + ((b * block_width<T> + o) * taps + tap) * s.in + i0;
      for (Index i = 0; i < count; ++i) to[i] = total[i * room + o];
    }
  }
}

/// dw [out][kh][kw][in] = sum over chunks, `chunk_step` apart, of sums [blocks of out][kh][kw][in]
/// [room], where every block has the space of a full one.
template <class T>
void add_chunks(const ConvShape& s, const T* sums, Index chunks, Index chunk_step, T* dw) {
  const Index taps = s.kh * s.kw, block_step = taps * s.in * block_width<T>;
  parallel_for(block_count<T>(s.out) * taps, 1, [&](Index begin, Index end) {
    for (Index bt = begin; bt < end; ++bt) {
      const Index b = bt / taps;
      add_chunks_of_tap(s, sums + b * block_step, chunks, chunk_step, b, bt % taps, dw);
    }
  });
}

}  // namespace ito::kernel
