// What the tests of Winograd's convolutions share: how far results are apart.
#pragma once

#include <cmath>

#include "tensor/tensor.h"

namespace ito::test {

/// Largest difference, and the root of the mean of squares, in units of the second's.
struct Distance {
  double largest, rms;
};

inline Distance error_of(const Tensor& a, const Tensor& b) {
  const double *x = a.data<double>(), *y = b.data<double>();
  double largest = 0.0, squares = 0.0, norm = 0.0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    const double d = std::abs(x[i] - y[i]);
    largest = d <= largest ? largest : d;  // a NaN counts
    squares += d * d, norm += y[i] * y[i];
  }
  const double scale = std::sqrt(norm / static_cast<double>(a.numel()));
  return {largest / scale, std::sqrt(squares / norm)};
}

}  // namespace ito::test
