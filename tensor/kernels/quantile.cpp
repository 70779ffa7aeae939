#include "tensor/kernels/quantile.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

std::int64_t grain(std::int64_t n) { return std::max<std::int64_t>(1, (1 << 13) / n); }

}  // namespace

void OrderStatistics::cpu(const Args& a) {
  with_float(name, a.dtype, [&]<class T>(T) {
    parallel_for(a.rows, grain(a.n), [&](std::int64_t begin, std::int64_t end) {
      std::vector<T> row;
      for (std::int64_t r = begin; r < end; ++r) {
        const T* x = static_cast<const T*>(a.x) + r * a.n;
        T& lower = static_cast<T*>(a.lower)[r];
        T& upper = static_cast<T*>(a.upper)[r];
        lower = upper = std::numeric_limits<T>::quiet_NaN();
        if (std::any_of(x, x + a.n, [](T v) { return std::isnan(v); })) continue;
        row.assign(x, x + a.n);
        const auto at = row.begin() + a.k;
        std::nth_element(row.begin(), at, row.end());  // what follows `at` is not below it
        lower = *at;
        upper = a.k + 1 < a.n ? *std::min_element(at + 1, row.end()) : *at;
      }
    });
  });
}

}  // namespace ito::kernel
