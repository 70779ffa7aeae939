#include "diffusion/evaluation/frechet.h"

#include <Eigen/Eigenvalues>
#include <limits>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/linalg.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"
#include "tensor/error.h"

namespace ito {
namespace {

using Matrix = Eigen::MatrixXd;

Eigen::Map<const Matrix> matrix(const Tensor& symmetric) {
  return {symmetric.data<double>(), symmetric.size(0), symmetric.size(1)};
}

// Of a covariance. Directions without variance have eigenvalues of rounding, whose root would be
// large: those are 0.
Matrix square_root(const Tensor& covariance) {
  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(matrix(covariance));
  const double rounding = eigen.eigenvalues().cwiseAbs().maxCoeff() *
                          static_cast<double>(covariance.size(0)) *
                          std::numeric_limits<double>::epsilon();
  const Eigen::VectorXd roots =
      (eigen.eigenvalues().array() > rounding).select(eigen.eigenvalues(), 0.0).cwiseSqrt();
  return eigen.eigenvectors() * roots.asDiagonal() * eigen.eigenvectors().transpose();
}

// The singular values of P and their negatives are the eigenvalues of [0 P; P^T 0]. To the same
// digits as a decomposition made for it, in a few times the operations; the compiler needs a
// quarter of the time.
double sum_of_singular_values(const Matrix& product) {
  const Eigen::Index n = product.rows();
  Matrix both = Matrix::Zero(2 * n, 2 * n);
  both.topRightCorner(n, n) = product;
  both.bottomLeftCorner(n, n) = product.transpose();
  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(both, Eigen::EigenvaluesOnly);
  return 0.5 * eigen.eigenvalues().cwiseAbs().sum();
}

}  // namespace

FeatureStatistics feature_statistics(const Tensor& features) {
  expect_rank("feature_statistics", "features", features, 2);
  expect_floating("feature_statistics", "features", features);
  const std::int64_t n = features.size(0);
  if (n < 2) fail<ValueError>("feature_statistics: a covariance needs 2 features; got {}", n);
  const Tensor x = cast(features.to(Device::cpu()), DType::f64);
  const Tensor average = mean(x, {0});
  const Tensor centred = x - average;
  return {average, matmul(centred, centred, true) / static_cast<double>(n - 1), n};
}

double frechet_distance(const FeatureStatistics& a, const FeatureStatistics& b) {
  expect_shape("frechet_distance", "mean of the second", b.mean, a.mean.shape());
  // (S1 S2)^(1/2) has the trace of (S1^(1/2) S2 S1^(1/2))^(1/2), which is the sum of the singular
  // values of P = S1^(1/2) S2^(1/2): no root of a product, which would lose half of the digits.
  const Matrix product = square_root(a.covariance) * square_root(b.covariance);
  return sum(square(a.mean - b.mean)).item() + matrix(a.covariance).trace() +
         matrix(b.covariance).trace() - 2.0 * sum_of_singular_values(product);
}

}  // namespace ito
