#include "tensor/kernels/sinusoid.h"

#include <vector>

namespace ito::kernel {
namespace {

template <class N, class T>
void fill(const Sinusoid::Args& a) {
  const std::int64_t half = a.dim / 2;
  const std::int64_t sines = a.cosines_first ? half : 0, cosines = half - sines;
  std::vector<double> f;
  for (std::int64_t i = 0; i < half; ++i) f.push_back(sinusoid_frequency(i, a.divisor));
  for (std::int64_t n = 0; n < a.n; ++n) {
    const auto t = static_cast<double>(static_cast<const N*>(a.t)[n]);
    T* row = static_cast<T*>(a.y) + n * a.dim;
    for (std::int64_t i = 0; i < half; ++i) {
      row[sines + i] = static_cast<T>(std::sin(t * f[static_cast<std::size_t>(i)]));
      row[cosines + i] = static_cast<T>(std::cos(t * f[static_cast<std::size_t>(i)]));
    }
  }
}

}  // namespace

void Sinusoid::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    if (a.t_dtype == DType::i64) return fill<std::int64_t, T>(a);
    with_float(name, a.t_dtype, [&]<class N>(N) { fill<N, T>(a); });
  });
}

}  // namespace ito::kernel
