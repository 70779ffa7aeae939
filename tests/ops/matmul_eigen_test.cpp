// Matrix products against another library: Eigen.
#include <doctest/doctest.h>

#include <Eigen/Dense>

#include "autograd/ops/linalg.h"
#include "tensor/rng.h"

using namespace ito;

namespace {

template <class T>
using RowMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class T>
RowMajor<T> to_eigen(const Tensor& t) {
  return Eigen::Map<const RowMajor<T>>(t.data<T>(), t.size(0), t.size(1));
}

// The largest difference between ito's and Eigen's op(a) op(b), as a share of the largest element.
template <class T>
double difference(std::int64_t m, std::int64_t n, std::int64_t k, bool ta, bool tb) {
  Rng rng(7, Purpose::test);
  const Tensor a = randn(rng, ta ? Shape{k, m} : Shape{m, k}, dtype_of<T>);
  const Tensor b = randn(rng, tb ? Shape{n, k} : Shape{k, n}, dtype_of<T>);
  const RowMajor<T> left = ta ? RowMajor<T>(to_eigen<T>(a).transpose()) : to_eigen<T>(a);
  const RowMajor<T> right = tb ? RowMajor<T>(to_eigen<T>(b).transpose()) : to_eigen<T>(b);
  const RowMajor<T> expected = left * right;
  const RowMajor<T> actual = to_eigen<T>(matmul(a, b, ta, tb));
  return static_cast<double>((actual - expected).cwiseAbs().maxCoeff() /
                             expected.cwiseAbs().maxCoeff());
}

}  // namespace

TEST_CASE("matmul: agrees with Eigen for sizes around every tile and all transpositions") {
  struct Size {
    std::int64_t m, n, k;
  };
  for (const Size s : {Size{1, 1, 1}, {7, 5, 3}, {14, 32, 16}, {33, 65, 129}, {200, 17, 300}}) {
    for (int flags = 0; flags < 4; ++flags) {
      CAPTURE(s.m);
      CAPTURE(flags);
      CHECK(difference<double>(s.m, s.n, s.k, flags & 1, flags & 2) < 1e-14);
      CHECK(difference<float>(s.m, s.n, s.k, flags & 1, flags & 2) < 2e-6);
    }
  }
}
