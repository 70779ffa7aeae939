#include "diffusion/evaluation/kernel_distance.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"
#include "tensor/error.h"

namespace ito {
namespace {

Tensor kernel(const Tensor& product, std::int64_t dimensions) {
  const Tensor k = product / static_cast<double>(dimensions) + 1.0;
  return k * k * k;
}

// Means of k(x_i, y_j): over j for every i, [n], and over i for every j, [m].
struct MeanKernels {
  Tensor of_x, of_y;
};

MeanKernels mean_kernels(const Tensor& x, const Tensor& y) {
  constexpr std::int64_t rows = 1024;  // of the kernel's matrix at a time
  std::vector<Tensor> parts;
  Tensor over_x = Tensor::zeros({y.size(0)}, DType::f64);
  for (std::int64_t i = 0; i < x.size(0); i += rows) {
    const Tensor block = slice(x, 0, i, std::min(i + rows, x.size(0)));
    const Tensor k = kernel(matmul(block, y, false, true), x.size(1));
    parts.push_back(mean(k, {1}));
    over_x = over_x + sum(k, {0});
  }
  return {concat(parts, 0), over_x / static_cast<double>(x.size(0))};
}

// The mean within one set, over j != i.
Tensor mean_kernel_to_others(const Tensor& x) {
  const auto n = static_cast<double>(x.size(0));
  return (n * mean_kernels(x, x).of_x - kernel(sum(square(x), {1}), x.size(1))) / (n - 1.0);
}

double variance_of_mean(const Tensor& x) {
  const auto n = static_cast<double>(x.numel());
  return sum(square(x - mean(x))).item() / (n - 1.0) / n;
}

}  // namespace

KernelDistance kernel_distance(const Tensor& a, const Tensor& b) {
  for (const Tensor& features : {a, b}) {
    expect_rank("kernel_distance", "features", features, 2);
    expect_floating("kernel_distance", "features", features);
    if (features.size(0) < 2) {
      fail<ValueError>("kernel_distance: needs 2 features of each kind; got {}", features.size(0));
    }
  }
  expect_shape("kernel_distance", "b", b, {b.size(0), a.size(1)});
  const Tensor x = cast(a.to(Device::cpu()), DType::f64);
  const Tensor y = cast(b.to(Device::cpu()), DType::f64);
  // How much nearer each feature is to its own set than to the other; the distance is the sum of
  // both means, a U-statistic with these as its projections.
  const MeanKernels across = mean_kernels(x, y);
  const Tensor of_x = mean_kernel_to_others(x) - across.of_x;
  const Tensor of_y = mean_kernel_to_others(y) - across.of_y;
  return {(mean(of_x) + mean(of_y)).item(),
          2.0 * std::sqrt(variance_of_mean(of_x) + variance_of_mean(of_y))};
}

}  // namespace ito
