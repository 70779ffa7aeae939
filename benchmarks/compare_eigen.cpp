// Matrix products of ito and of Eigen in turn, one thread each: why ito uses its own.
//
//   compare_eigen
//
// Shapes: a linear layer over the pixels of a batch, its weight gradient, a square product, and the
// scores of attention. Rates are of processor time, so other programs disturb them little.
#include <fmt/format.h>
#include <sys/resource.h>

#include <Eigen/Dense>
#include <algorithm>
#include <string_view>

#include "autograd/ops/linalg.h"
#include "tensor/parallel.h"
#include "tensor/rng.h"
#include "tensor/version.h"

using namespace ito;

namespace {

double processor_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec);
}

template <class F>
double seconds_of(int repeats, F f) {
  const double begin = processor_seconds();
  for (int i = 0; i < repeats; ++i) f();
  return processor_seconds() - begin;
}

struct Size {
  std::int64_t m, n, k;
};

void compare(const Size& s) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Rng rng(1, Purpose::test);
  const Tensor a = randn(rng, {s.m, s.k}), b = randn(rng, {s.k, s.n});
  const Eigen::Map<const Matrix> left(a.data<float>(), s.m, s.k), right(b.data<float>(), s.k, s.n);
  Matrix product(s.m, s.n);
  Tensor y;
  const double flops = 2e-9 * static_cast<double>(s.m * s.n * s.k);
  const int repeats = std::max(1, static_cast<int>(4.0 / flops));
  double eigen = 0.0, ito = 0.0;
  for (int round = 0; round < 3; ++round) {
    eigen += seconds_of(repeats, [&] { product.noalias() = left * right; });
    ito += seconds_of(repeats, [&] { y = matmul(a, b); });
  }
  const double work = 3 * repeats * flops;
  fmt::print("[{}, {}] x [{}, {}]: Eigen {:.0f} GFLOP/s, ito {:.0f} GFLOP/s, ratio {:.2f}\n", s.m,
             s.k, s.k, s.n, work / eigen, work / ito, eigen / ito);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    fmt::print("{}\n", build::describe("compare_eigen"));
    return 0;
  }
  set_num_threads(1);
  for (const Size& s : {Size{12544, 64, 64}, {64, 64, 12544}, {1024, 1024, 1024}, {196, 196, 64}}) {
    compare(s);
  }
}
