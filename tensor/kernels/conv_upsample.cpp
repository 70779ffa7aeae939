#include "tensor/kernels/conv_upsample.h"

#include <algorithm>

#include "tensor/kernels/index.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

// The e of 0 .. factor-1 with 0 <= e + size - 1 - at < size.
struct Span {
  Index begin, end;
  Span(Index at, Index size, Index factor)
      : begin(std::max<Index>(0, at - size + 1)), end(std::min(factor, at + 1)) {}
};

}  // namespace

void FoldUpsampling::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    const FoldShape& s = a.shape;
    const Index rows = s.kh + s.factor - 1, columns = s.kw + s.factor - 1;
    const T* weight = static_cast<const T*>(a.weight);
    parallel_for(s.in, 1, [&](Index begin, Index end) {
      T* to = static_cast<T*>(a.folded) + begin * rows * columns * s.out;
      for (Index i = begin; i < end; ++i) {
        for (Index r = 0; r < rows; ++r) {
          for (Index c = 0; c < columns; ++c) {
            const Span down(r, s.kh, s.factor), across(c, s.kw, s.factor);
            for (Index o = 0; o < s.out; ++o) {
              T sum = 0;
              for (Index e = down.begin; e < down.end; ++e) {
                for (Index d = across.begin; d < across.end; ++d) {
                  const Index row = e + s.kh - 1 - r, column = d + s.kw - 1 - c;
                  sum += weight[((o * s.kh + row) * s.kw + column) * s.in + i];
                }
              }
              *to++ = sum;
            }
          }
        }
      }
    });
  });
}

void FoldUpsamplingGrad::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    const FoldShape& s = a.shape;
    const Index rows = s.kh + s.factor - 1, columns = s.kw + s.factor - 1;
    const T* dfolded = static_cast<const T*>(a.dfolded);
    parallel_for(s.out, 1, [&](Index begin, Index end) {
      T* to = static_cast<T*>(a.dweight) + begin * s.kh * s.kw * s.in;
      for (Index o = begin; o < end; ++o) {
        for (Index r = 0; r < s.kh; ++r) {
          for (Index c = 0; c < s.kw; ++c) {
            for (Index i = 0; i < s.in; ++i) {
              T sum = 0;
              for (Index e = 0; e < s.factor; ++e) {
                for (Index d = 0; d < s.factor; ++d) {
                  const Index row = e + s.kh - 1 - r, column = d + s.kw - 1 - c;
                  sum += dfolded[((i * rows + row) * columns + column) * s.out + o];
                }
              }
              *to++ = sum;
            }
          }
        }
      }
    });
  });
}

}  // namespace ito::kernel
