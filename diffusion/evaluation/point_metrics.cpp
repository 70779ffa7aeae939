#include "diffusion/evaluation/point_metrics.h"

#include <algorithm>
#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"

namespace ito {
namespace {

Tensor points(const char* op, const char* name, const Tensor& x) {
  expect_floating(op, name, x);
  expect_rank(op, name, x, 2);
  if (x.size(0) < 2)
    fail<ShapeError>("{}: {} needs two points at least; got {}", op, name, x.str());
  return cast(x.to(Device::cpu()), DType::f64);
}

// The sum of k over all pairs, a block of rows at a time to bound the memory.
double kernel_sum(const Tensor& a, const Tensor& b, const std::vector<double>& bandwidths) {
  constexpr std::int64_t rows = 512;
  const Tensor b_squared = reshape(sum(square(b), {1}), Shape{1, b.size(0)});
  double total = 0.0;
  for (std::int64_t first = 0; first < a.size(0); first += rows) {
    const Tensor block = slice(a, 0, first, std::min(first + rows, a.size(0)));
    const Tensor distance = sum(square(block), {1}, true) + b_squared -
                            2.0 * matmul(block, b, false, /*transpose_b=*/true);
    for (const double h : bandwidths) total += sum(exp(distance * (-0.5 / (h * h)))).item();
  }
  return total / static_cast<double>(bandwidths.size());
}

std::vector<double> sorted(const Tensor& row) {
  std::vector<double> values = row.to_vector<double>();
  std::ranges::sort(values);
  return values;
}

}  // namespace

double squared_mmd(const Tensor& a, const Tensor& b, const std::vector<double>& bandwidths) {
  const NoGrad no_grad;
  const Tensor x = points("squared_mmd", "a", a), y = points("squared_mmd", "b", b);
  expect_shape("squared_mmd", "b", b, {y.size(0), x.size(1)});
  const auto n = static_cast<double>(x.size(0)), m = static_cast<double>(y.size(0));
  // k(x, x) = 1 is not a pair of different points.
  return (kernel_sum(x, x, bandwidths) - n) / (n * (n - 1)) +
         (kernel_sum(y, y, bandwidths) - m) / (m * (m - 1)) -
         2.0 * kernel_sum(x, y, bandwidths) / (n * m);
}

double squared_mmd(const Tensor& a, const Tensor& b) { return squared_mmd(a, b, {0.1, 0.3, 1.0}); }

double sliced_wasserstein(const Tensor& a, const Tensor& b, const Tensor& directions) {
  const NoGrad no_grad;
  const Tensor x = points("sliced_wasserstein", "a", a), y = points("sliced_wasserstein", "b", b);
  expect_shape("sliced_wasserstein", "b", b, a.shape());
  const std::int64_t k = directions.size(0);
  expect_shape("sliced_wasserstein", "directions", directions, {k, x.size(1)});
  const Tensor along_x = matmul(directions, x, false, true);  // [k, n]
  const Tensor along_y = matmul(directions, y, false, true);
  double total = 0.0;
  for (std::int64_t i = 0; i < k; ++i) {
    const auto p = sorted(slice(along_x, 0, i, i + 1)), q = sorted(slice(along_y, 0, i, i + 1));
    for (std::size_t j = 0; j < p.size(); ++j) total += (p[j] - q[j]) * (p[j] - q[j]);
  }
  return total / static_cast<double>(k * x.size(0));
}

Tensor random_directions(Rng& rng, std::int64_t k, std::int64_t d) {
  const Tensor z = randn(rng, {k, d}, DType::f64);
  return z / sqrt(sum(square(z), {1}, true));
}

MetricFloor metric_floor(const std::function<double(const Tensor&, const Tensor&)>& metric,
                         const std::vector<Tensor>& draws) {
  const std::size_t pairs = draws.size() / 2;
  if (pairs < 2) {
    fail<ValueError>("metric_floor: needs four sets of points at least; got {}", draws.size());
  }
  std::vector<double> values;
  for (std::size_t i = 0; i < pairs; ++i) values.push_back(metric(draws[2 * i], draws[2 * i + 1]));
  MetricFloor floor;
  for (const double v : values) floor.mean += v / static_cast<double>(pairs);
  double squares = 0.0;
  for (const double v : values) squares += (v - floor.mean) * (v - floor.mean);
  floor.deviation = std::sqrt(squares / static_cast<double>(pairs - 1));
  return floor;
}

}  // namespace ito
