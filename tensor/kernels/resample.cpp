#include "tensor/kernels/resample.h"

#include <algorithm>

#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

// Rows of the smaller image per task: about 64 KiB of the larger one.
std::int64_t rows_per_task(std::int64_t w, std::int64_t c, std::int64_t factor) {
  return std::max<std::int64_t>(1, (1 << 14) / std::max<std::int64_t>(1, w * c * factor * factor));
}

}  // namespace

void Upsample::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    const T scale = static_cast<T>(a.scale);
    const std::int64_t wide = a.w * a.factor * a.c;
    parallel_for(a.n * a.h, rows_per_task(a.w, a.c, a.factor),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t row = begin; row < end; ++row) {
                     const T* x = static_cast<const T*>(a.x) + row * a.w * a.c;
                     T* first = static_cast<T*>(a.y) + row * a.factor * wide;
                     T* y = first;
                     for (std::int64_t w = 0; w < a.w; ++w, x += a.c) {
                       for (std::int64_t s = 0; s < a.factor; ++s, y += a.c) {
                         for (std::int64_t c = 0; c < a.c; ++c) y[c] = scale * x[c];
                       }
                     }
                     for (std::int64_t r = 1; r < a.factor; ++r)
                       std::copy_n(first, wide, first + r * wide);
                   }
                 });
  });
}

void SumPool::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    const T scale = static_cast<T>(a.scale);
    const std::int64_t wide = a.w * a.factor * a.c;
    parallel_for(a.n * a.h, rows_per_task(a.w, a.c, a.factor),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t row = begin; row < end; ++row) {
                     const T* top = static_cast<const T*>(a.x) + row * a.factor * wide;
                     T* y = static_cast<T*>(a.y) + row * a.w * a.c;
                     for (std::int64_t w = 0; w < a.w; ++w, y += a.c) {
                       std::fill_n(y, a.c, T(0));
                       for (std::int64_t r = 0; r < a.factor; ++r) {
                         for (std::int64_t s = 0; s < a.factor; ++s) {
                           const T* x = top + r * wide + (w * a.factor + s) * a.c;
                           for (std::int64_t c = 0; c < a.c; ++c) y[c] += x[c];
                         }
                       }
                       for (std::int64_t c = 0; c < a.c; ++c) y[c] *= scale;
                     }
                   }
                 });
  });
}

}  // namespace ito::kernel
