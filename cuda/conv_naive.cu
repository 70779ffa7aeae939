// Rung 0 of the convolutions: one thread per output, which walks over everything it sums.
//
// Each product costs two loads from L1 or L2 for one multiply-add: the kernel is bound by the load
// units at a few per cent of the arithmetic rate, whatever the shape. It takes every shape and
// serves as the definition that the other rungs are compared with.
//
// FLOPs: 2 n p q out kh kw in for each of the three passes.
#include "cuda/conv.h"
#include "cuda/element.h"
#include "cuda/launch.h"
#include "tensor/kernels/index.h"

namespace ito::cuda::conv {
namespace {

using kernel::ConvShape;
using kernel::Index;

/// The four coordinates of element i of an array [., b, c, d].
struct Position {
  Index a, b, c, d;
  __device__ Position(Index i, Index size_b, Index size_c, Index size_d) {
    d = i % size_d, i /= size_d;
    c = i % size_c, i /= size_c;
    b = i % size_b, a = i / size_b;
  }
};

template <class T>
__global__ void naive_forward(const T* x, const T* x2, Index x2_channels, const T* weight,
                              const T* bias, const T* addend, T* y, ConvShape s,
                              bool addend_per_image) {
  const Index in = s.in - x2_channels;  // channels of x
  for (Index i : grid_stride(s.n * s.p * s.q * s.out)) {
    const Position at(i, s.p, s.q, s.out);  // n, p, q, o
    float sum = 0.0f;
    for (Index r = 0; r < s.kh; ++r) {
      const Index h = at.b * s.stride + r - s.top;
      if (h < 0 || h >= s.h) continue;
      for (Index c = 0; c < s.kw; ++c) {
        const Index w = at.c * s.stride + c - s.left;
        if (w < 0 || w >= s.w) continue;
        const Index pixel = (at.a * s.h + h) * s.w + w;
        const T* tap = weight + ((at.d * s.kh + r) * s.kw + c) * s.in;
        for (Index k = 0; k < in; ++k) sum += to_float(x[pixel * in + k]) * to_float(tap[k]);
        for (Index k = 0; k < x2_channels; ++k) {
          sum += to_float(x2[pixel * x2_channels + k]) * to_float(tap[in + k]);
        }
      }
    }
    if (bias != nullptr) sum += to_float(bias[at.d]);
    if (addend != nullptr) sum += to_float(addend[addend_per_image ? at.a * s.out + at.d : i]);
    y[i] = from_float<T>(sum);
  }
}

template <class T>
__global__ void naive_input_grad(const T* dy, const T* weight, const T* bias, T* dx, ConvShape s) {
  for (Index i : grid_stride(s.n * s.h * s.w * s.in)) {
    const Position at(i, s.h, s.w, s.in);  // n, h, w, i
    float sum = 0.0f;
    for (Index r = 0; r < s.kh; ++r) {
      const Index h = at.b + s.top - r;  // = p stride
      if (h < 0 || h % s.stride != 0 || h / s.stride >= s.p) continue;
      for (Index c = 0; c < s.kw; ++c) {
        const Index w = at.c + s.left - c;
        if (w < 0 || w % s.stride != 0 || w / s.stride >= s.q) continue;
        const T* pixel = dy + ((at.a * s.p + h / s.stride) * s.q + w / s.stride) * s.out;
        const T* tap = weight + (r * s.kw + c) * s.in + at.d;
        for (Index o = 0; o < s.out; ++o) {
          sum += to_float(pixel[o]) * to_float(tap[o * s.kh * s.kw * s.in]);
        }
      }
    }
    if (bias != nullptr) sum += to_float(bias[at.d]);
    dx[i] = from_float<T>(sum);
  }
}

template <class T>
__global__ void naive_weight_grad(const T* x, const T* dy, T* dweight, ConvShape s) {
  for (Index i : grid_stride(s.out * s.kh * s.kw * s.in)) {
    const Position at(i, s.kh, s.kw, s.in);  // o, r, s, i
    float sum = 0.0f;
    for (Index n = 0; n < s.n; ++n) {
      float image = 0.0f;  // summed apart: less is lost to rounding
      for (Index p = 0; p < s.p; ++p) {
        const Index h = p * s.stride + at.b - s.top;
        if (h < 0 || h >= s.h) continue;
        for (Index q = 0; q < s.q; ++q) {
          const Index w = q * s.stride + at.c - s.left;
          if (w < 0 || w >= s.w) continue;
          image += to_float(dy[((n * s.p + p) * s.q + q) * s.out + at.a]) *
                   to_float(x[((n * s.h + h) * s.w + w) * s.in + at.d]);
        }
      }
      sum += image;
    }
    dweight[i] = from_float<T>(sum);
  }
}

template <class T>
const T* as(const void* p) {
  return static_cast<const T*>(p);
}

constexpr int threads = 128;

}  // namespace

void naive(const kernel::Conv2d::Args& a) {
  const ConvShape& s = a.shape;
  with_element(kernel::Conv2d::name, a.dtype, [&]<class T>(T) {
    launch(naive_forward<T>, blocks_for(s.n * s.p * s.q * s.out, threads), threads, 0, as<T>(a.x),
           as<T>(a.x2), a.x2_channels, as<T>(a.weight), as<T>(a.bias), as<T>(a.addend),
           static_cast<T*>(a.y), s, a.addend_per_image);
  });
}

void naive(const kernel::Conv2dInputGrad::Args& a) {
  const ConvShape& s = a.shape;
  with_element(kernel::Conv2dInputGrad::name, a.dtype, [&]<class T>(T) {
    launch(naive_input_grad<T>, blocks_for(s.n * s.h * s.w * s.in, threads), threads, 0,
           as<T>(a.dy), as<T>(a.weight), as<T>(a.bias), static_cast<T*>(a.dx), s);
  });
}

void naive(const kernel::Conv2dWeightGrad::Args& a) {
  const ConvShape& s = a.shape;
  with_element(kernel::Conv2dWeightGrad::name, a.dtype, [&]<class T>(T) {
    launch(naive_weight_grad<T>, blocks_for(s.out * s.kh * s.kw * s.in, threads), threads, 0,
           as<T>(a.x), as<T>(a.dy), static_cast<T*>(a.dweight), s);
  });
}

}  // namespace ito::cuda::conv
