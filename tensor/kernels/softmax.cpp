#include "tensor/kernels/softmax.h"

#include <algorithm>
#include <limits>

#include "tensor/kernels/math.h"
#include "tensor/parallel.h"

namespace ito::kernel {
namespace {

constexpr std::int64_t lanes = 16;  // independent partial results, for vector registers

std::int64_t grain(std::int64_t n) { return std::max<std::int64_t>(1, (1 << 13) / n); }

// Reduces term(0), ..., term(n - 1) with `combine` in `lanes` lanes.
template <class T, class Term, class Combine>
T reduce(std::int64_t n, T start, Term term, Combine combine) {
  T lane[lanes];
  std::fill(lane, lane + lanes, start);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (std::int64_t k = 0; k < lanes; ++k) lane[k] = combine(lane[k], term(i + k));
  }
  T result = start;
  for (std::int64_t k = 0; k < lanes; ++k) result = combine(result, lane[k]);
  for (; i < n; ++i) result = combine(result, term(i));
  return result;
}

// Skips NaN, which comes out through the exponentials all the same.
struct Larger {
  template <class T>
  T operator()(T a, T b) const {
    return b > a ? b : a;
  }
};
struct Plus {
  template <class T>
  T operator()(T a, T b) const {
    return a + b;
  }
};

}  // namespace

void Softmax::cpu(const Args& a) {
  if (a.rows == 0 || a.n == 0) return;
  with_float(name, a.dtype, [&]<class T>(T) {
    parallel_for(a.rows, grain(a.n), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* x = static_cast<const T*>(a.x) + r * a.n;
        T* y = static_cast<T*>(a.y) + r * a.n;
        const T highest = reduce(
            a.n, -std::numeric_limits<T>::infinity(), [=](std::int64_t i) { return x[i]; },
            Larger{});
        for (std::int64_t i = 0; i < a.n; ++i) y[i] = math::exp(x[i] - highest);
        const T total = reduce(
            a.n, T(0), [=](std::int64_t i) { return y[i]; }, Plus{});
        const T scale = T(1) / total;
        for (std::int64_t i = 0; i < a.n; ++i) y[i] *= scale;
      }
    });
  });
}

void SoftmaxGrad::cpu(const Args& a) {
  if (a.rows == 0 || a.n == 0) return;
  with_float(name, a.dtype, [&]<class T>(T) {
    parallel_for(a.rows, grain(a.n), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* y = static_cast<const T*>(a.y) + r * a.n;
        const T* dy = static_cast<const T*>(a.dy) + r * a.n;
        T* dx = static_cast<T*>(a.dx) + r * a.n;
        const T dot = reduce(
            a.n, T(0), [=](std::int64_t i) { return y[i] * dy[i]; }, Plus{});
        for (std::int64_t i = 0; i < a.n; ++i) dx[i] = y[i] * (dy[i] - dot);
      }
    });
  });
}

}  // namespace ito::kernel
