#include "tensor/kernels/indexing.h"

#include <algorithm>
#include <cstring>

#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

std::int64_t row_grain(std::int64_t width) {
  return std::max<std::int64_t>(1, (1 << 14) / std::max<std::int64_t>(1, width));
}

}  // namespace

void Gather::cpu(const Args& a) {
  const auto* ids = static_cast<const std::int64_t*>(a.ids);
  const auto bytes = static_cast<std::size_t>(a.width) * size_of(a.dtype);
  if (bytes == 0) return;
  parallel_for(a.n, row_grain(a.width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::memcpy(static_cast<char*>(a.y) + static_cast<std::size_t>(i) * bytes,
                  static_cast<const char*>(a.table) + static_cast<std::size_t>(ids[i]) * bytes,
                  bytes);
    }
  });
}

// Threads share the columns, so that each element of y is added up by one of them, in order.
void ScatterAdd::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    const auto* ids = static_cast<const std::int64_t*>(a.ids);
    const T* x = static_cast<const T*>(a.x);
    T* y = static_cast<T*>(a.y);
    std::fill(y, y + a.rows * a.width, T(0));
    const std::int64_t grain =
        std::max<std::int64_t>(16, (1 << 14) / std::max<std::int64_t>(1, a.n));
    parallel_for(a.width, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = 0; i < a.n; ++i) {
        const T* from = x + i * a.width;
        T* to = y + ids[i] * a.width;
        for (std::int64_t c = begin; c < end; ++c) to[c] += from[c];
      }
    });
  });
}

void OneHot::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    const auto* ids = static_cast<const std::int64_t*>(a.ids);
    T* y = static_cast<T*>(a.y);
    parallel_for(a.n, row_grain(a.classes), [&](std::int64_t begin, std::int64_t end) {
      std::fill(y + begin * a.classes, y + end * a.classes, T(0));
      for (std::int64_t i = begin; i < end; ++i) y[i * a.classes + ids[i]] = T(1);
    });
  });
}

}  // namespace ito::kernel
