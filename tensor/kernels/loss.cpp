#include "tensor/kernels/loss.h"

#include <algorithm>
#include <vector>

#include "tensor/math.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

constexpr std::int64_t grain = 1 << 14;

// Sum of (a - b)^2 over n elements, in lanes for vector registers.
template <class T>
double squared_distance(const T* a, const T* b, std::int64_t n) {
  constexpr std::int64_t lanes = 32;
  double lane[lanes] = {};
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (std::int64_t k = 0; k < lanes; ++k) {
      const double d = static_cast<double>(a[i + k]) - static_cast<double>(b[i + k]);
      lane[k] += d * d;
    }
  }
  double total = 0.0;
  for (; i < n; ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    total += d * d;
  }
  for (const double part : lane) total += part;
  return total;
}

}  // namespace

void Mse::cpu(const Args& s) {
  with_float(name, s.dtype, [&]<class T>(T) {
    const T* a = static_cast<const T*>(s.a);
    const T* b = static_cast<const T*>(s.b);
    std::vector<double> partial(static_cast<std::size_t>(ceil_div(s.n, grain)));
    parallel_for(s.n, grain, [&](std::int64_t begin, std::int64_t end) {
      partial[static_cast<std::size_t>(begin / grain)] =
          squared_distance(a + begin, b + begin, end - begin);
    });
    double total = 0.0;
    for (const double part : partial) total += part;
    *static_cast<T*>(s.y) = static_cast<T>(total / static_cast<double>(s.n));
  });
}

void MseGrad::cpu(const Args& s) {
  with_float(name, s.dtype, [&]<class T>(T) {
    const T* a = static_cast<const T*>(s.a);
    const T* b = static_cast<const T*>(s.b);
    T* da = static_cast<T*>(s.da);
    const T scale = *static_cast<const T*>(s.dy) * (T(2) / static_cast<T>(s.n));
    parallel_for(s.n, grain, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) da[i] = scale * (a[i] - b[i]);
    });
  });
}

}  // namespace ito::kernel
