#include "tensor/kernels/sinusoid.h"

#include <vector>

namespace ito::kernel {

void Sinusoid::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    const std::int64_t half = a.dim / 2;
    std::vector<double> f;
    for (std::int64_t i = 0; i < half; ++i) f.push_back(sinusoid_frequency(i, half));
    for (std::int64_t n = 0; n < a.n; ++n) {
      const auto t = static_cast<double>(static_cast<const std::int64_t*>(a.t)[n]);
      T* row = static_cast<T*>(a.y) + n * a.dim;
      for (std::int64_t i = 0; i < half; ++i) {
        row[i] = static_cast<T>(std::sin(t * f[static_cast<std::size_t>(i)]));
        row[half + i] = static_cast<T>(std::cos(t * f[static_cast<std::size_t>(i)]));
      }
    }
  });
}

}  // namespace ito::kernel
