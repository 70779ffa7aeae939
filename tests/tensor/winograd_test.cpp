#include "tensor/kernels/winograd.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

using namespace ito;
using kernel::transform_square;
using kernel::Winograd;

namespace {

template <std::size_t rows, std::size_t columns>
using Matrix = std::array<std::array<double, columns>, rows>;

// The matrix of a linear function of arrays: its columns are the images of the unit vectors.
template <std::size_t rows, std::size_t columns, class F>
Matrix<rows, columns> matrix_of(F f) {
  Matrix<rows, columns> m{};
  for (std::size_t j = 0; j < columns; ++j) {
    double x[columns] = {}, y[rows];
    x[j] = 1.0;
    f(x, y);
    for (std::size_t i = 0; i < rows; ++i) m[i][j] = y[i];
  }
  return m;
}

template <int m>
struct Matrices {
  static constexpr int t = m + 2;
  using W = Winograd<double, m>;
  Matrix<t, t> input = matrix_of<t, t>([](auto& d, auto& v) { W::input(d, v); });
  Matrix<t, 3> weight = matrix_of<t, 3>([](auto& g, auto& u) { W::weight(g, u); });
  Matrix<m, t> output = matrix_of<m, t>([](auto& s, auto& y) { W::output(s, y); });
  Matrix<t, m> output_adjoint = matrix_of<t, m>([](auto& y, auto& s) { W::output_adjoint(y, s); });
  Matrix<3, t> weight_adjoint = matrix_of<3, t>([](auto& u, auto& g) { W::weight_adjoint(u, g); });
};

// The largest deviation of A^T [(G e_j) * (B^T e_k)] from the correlation of unit vectors, which is
// 1 for the output i with i + j = k and else 0. The expression is linear in both, so that this
// proves the identity for all data and taps.
template <int m>
double identity_error(const Matrices<m>& w) {
  double worst = 0.0;
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j < 3; ++j) {
      for (std::size_t k = 0; k < m + 2; ++k) {
        double y = 0.0;
        for (std::size_t p = 0; p < m + 2; ++p)
          y += w.output[i][p] * w.weight[p][j] * w.input[p][k];
        worst = std::max(worst, std::abs(y - (i + j == k ? 1.0 : 0.0)));
      }
    }
  }
  return worst;
}

template <std::size_t rows, std::size_t columns>
double transpose_error(const Matrix<rows, columns>& a, const Matrix<columns, rows>& b) {
  double worst = 0.0;
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) worst = std::max(worst, std::abs(a[i][j] - b[j][i]));
  }
  return worst;
}

}  // namespace

TEST_CASE("Winograd transforms: the products give the correlation of any data with any taps") {
  CHECK(identity_error(Matrices<2>()) == 0.0);
  CHECK(identity_error(Matrices<4>()) < 1e-14);
}

TEST_CASE("Winograd transforms: one wrong element breaks the identity") {
  for (std::size_t i = 0; i < 6; ++i) {
    Matrices<4> w;
    w.input[i][i == 5 ? 3 : 2] *= 1.001;
    CHECK(identity_error(w) > 1e-4);
  }
}

TEST_CASE("Winograd transforms: the adjoints are transposed matrices") {
  const Matrices<2> two;
  CHECK(transpose_error(two.output, two.output_adjoint) == 0.0);
  CHECK(transpose_error(two.weight, two.weight_adjoint) == 0.0);
  const Matrices<4> four;
  CHECK(transpose_error(four.output, four.output_adjoint) < 1e-15);
  CHECK(transpose_error(four.weight, four.weight_adjoint) < 1e-15);
}

TEST_CASE("transform_square applies a transform to both axes") {
  const Matrices<4> w;
  double x[4][4], y[6][6];
  for (int i = 0; i < 16; ++i) x[i / 4][i % 4] = std::sin(3.0 * i);
  transform_square<double, 4, 6>(
      [](auto& from, auto& to) { Winograd<double, 4>::output_adjoint(from, to); },
      [&](double& v, int i, int j) { v = x[i][j]; },
      [&](int i, int j, const double& v) { y[i][j] = v; });
  for (std::size_t i = 0; i < 6; ++i) {
    for (std::size_t j = 0; j < 6; ++j) {
      double expected = 0.0;
      for (std::size_t k = 0; k < 4; ++k) {
        for (std::size_t l = 0; l < 4; ++l) {
          expected += w.output_adjoint[i][k] * x[k][l] * w.output_adjoint[j][l];
        }
      }
      CHECK(y[i][j] == doctest::Approx(expected).epsilon(1e-13));
    }
  }
}
