#include "tensor/kernels/rms_norm.h"

#include <algorithm>
#include <cmath>

#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

// Rows of one piece of work. It may depend on the sizes, never on the number of threads.
std::int64_t grain(std::int64_t n) { return std::max<std::int64_t>(1, (1 << 14) / n); }

}  // namespace

void RmsNorm::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    const T* weight = static_cast<const T*>(a.weight);
    parallel_for(a.rows, grain(a.n), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* x = static_cast<const T*>(a.x) + r * a.n;
        T* y = static_cast<T*>(a.y) + r * a.n;
        T squares = 0;
        for (std::int64_t i = 0; i < a.n; ++i) squares += x[i] * x[i];
        const T scale = T(1) / std::sqrt(squares / static_cast<T>(a.n) + static_cast<T>(a.eps));
        static_cast<T*>(a.scale)[r] = scale;
        for (std::int64_t i = 0; i < a.n; ++i) y[i] = x[i] * scale * weight[i];
      }
    });
  });
}

void RmsNormGrad::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    const T* weight = static_cast<const T*>(a.weight);
    parallel_for(a.rows, grain(a.n), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* x = static_cast<const T*>(a.x) + r * a.n;
        const T* dy = static_cast<const T*>(a.dy) + r * a.n;
        T* dx = static_cast<T*>(a.dx) + r * a.n;
        const T scale = static_cast<const T*>(a.scale)[r];
        T dot = 0;
        for (std::int64_t i = 0; i < a.n; ++i) dot += weight[i] * dy[i] * x[i];
        const T shared = dot * scale * scale * scale / static_cast<T>(a.n);
        for (std::int64_t i = 0; i < a.n; ++i) dx[i] = scale * weight[i] * dy[i] - x[i] * shared;
      }
    });
  });
}

}  // namespace ito::kernel
