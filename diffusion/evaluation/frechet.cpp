#include "diffusion/evaluation/frechet.h"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <limits>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "tensor/check.h"
#include "tensor/error.h"

namespace ito {
namespace {

using Matrix = Eigen::MatrixXd;

Eigen::Map<const Matrix> matrix(const Tensor& symmetric) {
  return {symmetric.data<double>(), symmetric.size(0), symmetric.size(1)};
}

// F with covariance = F F^T. A covariance without variance in some directions is factored by
// pivots, of which those of rounding are left out: their roots would be large.
Matrix factor(const Tensor& covariance) {
  const auto s = matrix(covariance);
  const double rounding = s.diagonal().maxCoeff() * static_cast<double>(s.rows()) *
                          std::numeric_limits<double>::epsilon();
  const Eigen::LLT<Matrix> cholesky(s);
  if (cholesky.info() == Eigen::Success &&
      cholesky.matrixLLT().diagonal().cwiseAbs2().minCoeff() > rounding) {
    return cholesky.matrixL();
  }
  const Eigen::LDLT<Matrix> pivoted(s);
  const Eigen::VectorXd pivots = pivoted.vectorD();  // they fall
  const auto rank = (pivots.array() > rounding).count();
  const Matrix lower = pivoted.matrixL();
  const Matrix rows = lower.leftCols(rank) * pivots.head(rank).cwiseSqrt().asDiagonal();
  return pivoted.transpositionsP().transpose() * rows;
}

// The roots of the eigenvalues of the smaller of P P^T and P^T P.
double sum_of_singular_values(const Matrix& product) {
  const Matrix gram = product.rows() < product.cols() ? Matrix(product * product.transpose())
                                                      : Matrix(product.transpose() * product);
  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(gram, Eigen::EigenvaluesOnly);
  return eigen.eigenvalues().cwiseMax(0.0).cwiseSqrt().sum();
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
  const std::int64_t d = x.size(1);
  // By columns, this is the transpose. One triangle is computed.
  const Eigen::Map<const Matrix> columns(centred.data<double>(), d, n);
  Tensor covariance = Tensor::zeros({d, d}, DType::f64);
  Eigen::Map<Matrix> c(covariance.mutable_data<double>(), d, d);
  c.selfadjointView<Eigen::Lower>().rankUpdate(columns, 1.0 / static_cast<double>(n - 1));
  c.triangularView<Eigen::StrictlyUpper>() = c.transpose();
  return {average, covariance, n};
}

double frechet_distance(const FeatureStatistics& a, const FeatureStatistics& b) {
  expect_shape("frechet_distance", "mean of the second", b.mean, a.mean.shape());
  // With S1 = F1 F1^T and S2 = F2 F2^T, (S1 S2)^(1/2) has the trace of the singular values of
  // F1^T F2: no root of a product, which may be complex.
  const Matrix product = factor(a.covariance).transpose() * factor(b.covariance);
  const double distance = sum(square(a.mean - b.mean)).item() + matrix(a.covariance).trace() +
                          matrix(b.covariance).trace() - 2.0 * sum_of_singular_values(product);
  return std::max(distance, 0.0);  // rounding alone is below 0
}

}  // namespace ito
