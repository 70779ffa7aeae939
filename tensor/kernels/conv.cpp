#include "tensor/kernels/conv.h"

#include <algorithm>

#include "tensor/parallel.h"

namespace ito::kernel {

void Conv2d::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    const ConvShape s = a.shape;
    const T* x = static_cast<const T*>(a.x);
    const T* w = static_cast<const T*>(a.weight);
    const T* bias = static_cast<const T*>(a.bias);
    const T* addend = static_cast<const T*>(a.addend);
    T* y = static_cast<T*>(a.y);
    parallel_for(s.n * s.p, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t np = begin; np < end; ++np) {
        const std::int64_t n = np / s.p, p = np % s.p;
        for (std::int64_t q = 0; q < s.q; ++q) {
          for (std::int64_t o = 0; o < s.out; ++o) {
            T sum = bias != nullptr ? bias[o] : T(0);
            for (std::int64_t r = 0; r < s.kh; ++r) {
              const std::int64_t row = p * s.stride + r - s.top;
              if (row < 0 || row >= s.h) continue;
              for (std::int64_t c = 0; c < s.kw; ++c) {
                const std::int64_t column = q * s.stride + c - s.left;
                if (column < 0 || column >= s.w) continue;
                const T* px = x + ((n * s.h + row) * s.w + column) * s.in;
                const T* pw = w + ((o * s.kh + r) * s.kw + c) * s.in;
                for (std::int64_t i = 0; i < s.in; ++i) sum += px[i] * pw[i];
              }
            }
            const std::int64_t at = (np * s.q + q) * s.out + o;
            if (addend != nullptr) sum += addend[a.addend_per_image ? n * s.out + o : at];
            y[at] = sum;
          }
        }
      }
    });
  });
}

void Conv2dInputGrad::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    const ConvShape s = a.shape;
    const T* dy = static_cast<const T*>(a.dy);
    const T* w = static_cast<const T*>(a.weight);
    T* dx = static_cast<T*>(a.dx);
    parallel_for(s.n, 1, [&](std::int64_t begin, std::int64_t end) {
      std::fill(dx + begin * s.h * s.w * s.in, dx + end * s.h * s.w * s.in, T(0));
      for (std::int64_t np = begin * s.p; np < end * s.p; ++np) {
        const std::int64_t n = np / s.p, p = np % s.p;
        for (std::int64_t q = 0; q < s.q; ++q) {
          for (std::int64_t o = 0; o < s.out; ++o) {
            const T g = dy[(np * s.q + q) * s.out + o];
            for (std::int64_t r = 0; r < s.kh; ++r) {
              const std::int64_t row = p * s.stride + r - s.top;
              if (row < 0 || row >= s.h) continue;
              for (std::int64_t c = 0; c < s.kw; ++c) {
                const std::int64_t column = q * s.stride + c - s.left;
                if (column < 0 || column >= s.w) continue;
                T* px = dx + ((n * s.h + row) * s.w + column) * s.in;
                const T* pw = w + ((o * s.kh + r) * s.kw + c) * s.in;
                for (std::int64_t i = 0; i < s.in; ++i) px[i] += g * pw[i];
              }
            }
          }
        }
      }
    });
  });
}

void Conv2dWeightGrad::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    const ConvShape s = a.shape;
    const T* x = static_cast<const T*>(a.x);
    const T* dy = static_cast<const T*>(a.dy);
    T* dw = static_cast<T*>(a.dweight);
    parallel_for(s.out, 1, [&](std::int64_t begin, std::int64_t end) {
      std::fill(dw + begin * s.kh * s.kw * s.in, dw + end * s.kh * s.kw * s.in, T(0));
      for (std::int64_t np = 0; np < s.n * s.p; ++np) {
        const std::int64_t n = np / s.p, p = np % s.p;
        for (std::int64_t q = 0; q < s.q; ++q) {
          for (std::int64_t o = begin; o < end; ++o) {
            const T g = dy[(np * s.q + q) * s.out + o];
            for (std::int64_t r = 0; r < s.kh; ++r) {
              const std::int64_t row = p * s.stride + r - s.top;
              if (row < 0 || row >= s.h) continue;
              for (std::int64_t c = 0; c < s.kw; ++c) {
                const std::int64_t column = q * s.stride + c - s.left;
                if (column < 0 || column >= s.w) continue;
                const T* px = x + ((n * s.h + row) * s.w + column) * s.in;
                T* pw = dw + ((o * s.kh + r) * s.kw + c) * s.in;
                for (std::int64_t i = 0; i < s.in; ++i) pw[i] += g * px[i];
              }
            }
          }
        }
      }
    });
  });
}

}  // namespace ito::kernel
