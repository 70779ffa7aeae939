#include "tensor/kernels/conv_pointwise.h"

#include <algorithm>

#include "tensor/kernels/gemm.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

/// The rows of `weight` for input channels [first, first + count), packed.
template <class T>
PackedWeight<T> pack_channels(const Correlation<T>& c, Index first, Index count) {
  const WeightOrder& o = c.order;
  const MatrixView<T> view{c.weight + o.origin + first * o.in_step, o.in_step, o.out_step};
  return {count > 0 ? c.packed : nullptr,
          {PackedWeights::pointwise, first, count, o.in_step, o.out_step, c.out},
          packed_size<T>(count, c.out),
          [&](T* to) {
            parallel_for(block_count<T>(c.out), 1, [&](Index begin, Index end) {
              for (Index b = begin; b < end; ++b) pack_block(view, count, c.out, b, to);
            });
          }};
}

/// What the sums of pixels [first, last) and columns [begin, end) begin with: addend and bias.
template <class T>
void start_with_addend(const Correlation<T>& c, Index first, Index last, Index begin, Index end) {
  for (Index i = first; i < last; ++i) {
    for (Index o = begin; o < end; ++o) {
      c.y[i * c.out + o] = c.addend[i * c.out + o] + (c.bias == nullptr ? T(0) : c.bias[o]);
    }
  }
}

}  // namespace

template <class T>
void correlate_pixels(const Correlation<T>& c) {
  const Index pixels = c.n * c.p * c.q, split = c.in - c.x2_channels,
              blocks = block_count<T>(c.out);
  if (pixels * c.out == 0) return;
  const PackedWeight<T> packed = pack_channels(c, 0, split);
  const PackedWeight<T> packed2 = pack_channels(c, split, c.x2_channels);
  const ProductPartition parts = ProductPartition::of(T(), pixels, c.in, c.out);
  const Onto onto = c.addend != nullptr ? Onto::y : c.bias != nullptr ? Onto::bias : Onto::zero;
  parallel_for(parts.tasks(), 1, [&](Index begin, Index end) {
    for (Index task = begin; task < end; ++task) {
      const Index first = task / parts.block_tasks * parts.rows,
                  b0 = task % parts.block_tasks * parts.blocks;
      const Index last = std::min(pixels, first + parts.rows),
                  b1 = std::min(blocks, b0 + parts.blocks);
      T* y = c.y + first * c.out;
      if (c.addend != nullptr) {
        start_with_addend(c, first, last, b0 * block_width<T>,
                          std::min(c.out, b1 * block_width<T>));
      }
      multiply<T>({c.x + first * split, split, 1}, last - first, split, packed.data(), c.out, b0,
                  b1, y, c.out, onto, c.bias);
      if (c.x2_channels == 0) continue;
      multiply<T>({c.x2 + first * c.x2_channels, c.x2_channels, 1}, last - first, c.x2_channels,
                  packed2.data(), c.out, b0, b1, y, c.out, Onto::y, nullptr);
    }
  });
}

template void correlate_pixels<float>(const Correlation<float>&);
template void correlate_pixels<double>(const Correlation<double>&);

void conv2d_weight_grad_pixels(const Conv2dWeightGrad::Args& args) {
  with_float(Conv2dWeightGrad::name, args.dtype, [&]<class T>(T) {
    const ConvShape& s = args.shape;
    const Index pixels = s.n * s.h * s.w, split = s.in - args.x2_channels;
    const MatrixView<T> dy{static_cast<const T*>(args.dy), s.out, 1};
    T* dw = static_cast<T*>(args.dweight);
    multiply_long<T>(dy, {static_cast<const T*>(args.x), split, 1}, s.out, split, pixels, dw, s.in);
    if (args.x2_channels == 0) return;
    multiply_long<T>(dy, {static_cast<const T*>(args.x2), args.x2_channels, 1}, s.out,
                     args.x2_channels, pixels, dw + split, s.in);
  });
}

}  // namespace ito::kernel
