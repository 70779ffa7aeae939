#include "tensor/kernels/reduce.h"

#include <algorithm>
#include <vector>

#include "tensor/parallel.h"

namespace ito::kernel {

void Sum::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(a.x);
    T* y = static_cast<T*>(a.y);
    // Partial sums of fixed chunks of r, added in chunk order.
    const std::int64_t chunk =
        std::max<std::int64_t>(1, (1 << 15) / std::max<std::int64_t>(1, a.inner));
    const std::int64_t chunks = std::max<std::int64_t>(1, (a.reduced + chunk - 1) / chunk);
    std::vector<double> partial(static_cast<std::size_t>(a.outer * chunks * a.inner), 0.0);
    parallel_for(a.outer * chunks, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t oc = begin; oc < end; ++oc) {
        const std::int64_t o = oc / chunks, c = oc % chunks;
        double* sums = partial.data() + oc * a.inner;
        for (std::int64_t r = c * chunk; r < std::min(a.reduced, (c + 1) * chunk); ++r) {
          const T* row = x + (o * a.reduced + r) * a.inner;
          for (std::int64_t i = 0; i < a.inner; ++i) sums[i] += static_cast<double>(row[i]);
        }
      }
    });
    parallel_for(a.outer * a.inner, 4096, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t oi = begin; oi < end; ++oi) {
        const std::int64_t o = oi / a.inner, i = oi % a.inner;
        double total = 0.0;
        for (std::int64_t c = 0; c < chunks; ++c) {
          total += partial[static_cast<std::size_t>((o * chunks + c) * a.inner + i)];
        }
        y[oi] = static_cast<T>(total);
      }
    });
  });
}

}  // namespace ito::kernel
