#include "diffusion/likelihood/codec/sample_coder.h"

#include <algorithm>
#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"

namespace ito::codec {
namespace {

// log q(z) / p(z) = constant + sum_i z_i (linear_i + quadratic_i z_i), and the most it can be.
struct LogRatio {
  Tensor linear, quadratic;
  double most = 0.0;  // without the constant

  explicit LogRatio(const Target& q) {
    std::vector<float> a(q.shift.size()), b(q.shift.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      const double shift = q.shift[i], precision = 1.0 / (double{q.scale[i]} * q.scale[i]);
      b[i] = static_cast<float>(shift * precision);
      a[i] = static_cast<float>(0.5 * (1.0 - precision));
      most += a[i] < 0 ? -0.25 * double{b[i]} * b[i] / a[i] : b[i] == 0 ? 0.0 : INFINITY;
    }
    const Shape shape{1, static_cast<std::int64_t>(a.size())};
    linear = Tensor::from(b, shape);
    quadratic = Tensor::from(a, shape);
  }

  std::vector<float> operator()(const Tensor& z) const {
    return sum(z * (linear + quadratic * z), {1}).to_vector<float>();
  }
};

}  // namespace

double divergence(float shift, float scale) {
  const double m = shift, s = scale;
  return (0.5 * (s * s + m * m - 1.0) - std::log(s)) / std::log(2.0);
}

Tensor candidate(Rng shared, std::uint64_t place, std::uint32_t k, std::int64_t n) {
  shared.seek(place, k);
  return randn(shared, {1, n}).view({n});
}

std::uint32_t choose_candidate(Rng shared, std::uint64_t place, const Target& q,
                               std::uint32_t limit) {
  const NoGrad no_grad;
  const auto n = static_cast<std::int64_t>(q.shift.size());
  const LogRatio log_ratio(q);
  const std::int64_t max_rows = std::max<std::int64_t>(16, 65536 / n);  // candidates at a time
  double time = 0.0, best = INFINITY;
  std::uint32_t chosen = 1;
  for (std::int64_t first = 1, rows = 16; first <= limit; first += rows) {
    rows = std::min({2 * rows, max_rows, static_cast<std::int64_t>(limit) - first + 1});
    shared.seek(place, static_cast<std::uint64_t>(first));
    const std::vector<float> ratio = log_ratio(randn(shared, {rows, n}));
    const std::vector<double> wait = rand(shared, {rows}, DType::f64).to_vector<double>();
    for (std::size_t i = 0; i < ratio.size(); ++i) {
      time -= std::log1p(-wait[i]);
      const double score = std::log(time) - double{ratio[i]};
      if (score < best) {
        best = score;
        chosen = static_cast<std::uint32_t>(first) + static_cast<std::uint32_t>(i);
      }
    }
    if (std::log(time) - log_ratio.most >= best) break;  // no later candidate can win
  }
  return chosen;
}

}  // namespace ito::codec
