// cuBLAS as the library calls it: column-major, transposed or not, leading dimensions larger than
// the columns. Whole numbers, so that every order of additions gives the same.
#include <cublas_v2.h>
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tensor/dtype.h"
#include "tests/cuda/buffer.h"
#include "tests/devices.h"

using namespace ito;
using testing::Buffer;

namespace {

template <class T>
constexpr cudaDataType type_of = sizeof(T) == 2 ? CUDA_R_16BF : CUDA_R_32F;

template <class T>
std::vector<T> numbers(std::size_t n, int seed) {
  std::vector<T> v;
  for (std::size_t i = 0; i < n; ++i)
    v.push_back(static_cast<T>(static_cast<float>((static_cast<int>(i) * seed + 5) % 13 - 6)));
  return v;
}

template <class T>
std::vector<float> as_floats(const std::vector<T>& v) {
  std::vector<float> f;
  for (const T x : v) f.push_back(static_cast<float>(x));
  return f;
}

struct Problem {
  int m, n, k, lda, ldb, ldc;
  bool transpose_a, transpose_b;
  float alpha, beta;
  int batch;
  std::size_t columns_a() const { return static_cast<std::size_t>(transpose_a ? m : k); }
  std::size_t columns_b() const { return static_cast<std::size_t>(transpose_b ? k : n); }
  std::size_t size_a() const { return columns_a() * static_cast<std::size_t>(lda); }
  std::size_t size_b() const { return columns_b() * static_cast<std::size_t>(ldb); }
  std::size_t size_c() const { return static_cast<std::size_t>(n * ldc); }
};

// C of the whole batch, by the definition.
template <class A, class C>
std::vector<float> expected(const Problem& p, const std::vector<A>& a, const std::vector<A>& b,
                            const std::vector<C>& c) {
  std::vector<float> result = as_floats(c);
  for (int batch = 0; batch < p.batch; ++batch) {
    const A* const first_a = a.data() + static_cast<std::size_t>(batch) * p.size_a();
    const A* const first_b = b.data() + static_cast<std::size_t>(batch) * p.size_b();
    float* const first_c = result.data() + static_cast<std::size_t>(batch) * p.size_c();
    for (int i = 0; i < p.m; ++i) {
      for (int j = 0; j < p.n; ++j) {
        float sum = 0;
        for (int k = 0; k < p.k; ++k)
          sum += static_cast<float>(first_a[p.transpose_a ? k + i * p.lda : i + k * p.lda]) *
                 static_cast<float>(first_b[p.transpose_b ? j + k * p.ldb : k + j * p.ldb]);
        float& out = first_c[i + j * p.ldc];
        out =
            static_cast<float>(static_cast<C>(p.alpha * sum + (p.beta == 0 ? 0.0f : p.beta * out)));
      }
    }
  }
  return result;
}

template <class A, class C>
void check_product(const Problem& p) {
  const auto batch = static_cast<std::size_t>(p.batch);
  const std::vector<A> a = numbers<A>(batch * p.size_a(), 7), b = numbers<A>(batch * p.size_b(), 3);
  const std::vector<C> c = numbers<C>(batch * p.size_c(), 11);
  Buffer<A> on_device_a(a), on_device_b(b);
  Buffer<C> on_device_c(c);
  const auto op_a = p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  const auto op_b = p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
  if (p.batch == 1) {
    cuda::check_cublas(cublasGemmEx(cuda::cublas(), op_a, op_b, p.m, p.n, p.k, &p.alpha,
                                    on_device_a.data(), type_of<A>, p.lda, on_device_b.data(),
                                    type_of<A>, p.ldb, &p.beta, on_device_c.data(), type_of<C>,
                                    p.ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                       "cublasGemmEx");
  } else {
    cuda::check_cublas(
        cublasGemmStridedBatchedEx(
            cuda::cublas(), op_a, op_b, p.m, p.n, p.k, &p.alpha, on_device_a.data(), type_of<A>,
            p.lda, static_cast<long long>(p.size_a()), on_device_b.data(), type_of<A>, p.ldb,
            static_cast<long long>(p.size_b()), &p.beta, on_device_c.data(), type_of<C>, p.ldc,
            static_cast<long long>(p.size_c()), p.batch, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
        "cublasGemmStridedBatchedEx");
  }
  CHECK(as_floats(on_device_c.read()) == expected(p, a, b, c));
}

}  // namespace

TEST_CASE("cublas: products with every transposition, leading dimension and type") {
  if (!testing::device_answers()) return;
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      for (const int batch : {1, 3}) {
        for (const float beta : {0.0f, 1.0f}) {
          CAPTURE(transpose_a);
          CAPTURE(transpose_b);
          CAPTURE(batch);
          CAPTURE(beta);
          const Problem p{5, 7, 9, 16, 24, 8, transpose_a, transpose_b, 2.0f, beta, batch};
          check_product<float, float>(p);
          check_product<bf16, float>(p);
          check_product<bf16, bf16>(p);
        }
      }
    }
  }
}

TEST_CASE("cublas: with beta = 0 what C held does not matter") {
  if (!testing::device_answers()) return;
  const float one = 1, zero = 0, nan = std::numeric_limits<float>::quiet_NaN();
  Buffer<float> a(std::vector<float>(4, 1.0f)), c(std::vector<float>(4, nan));
  cuda::check_cublas(cublasGemmEx(cuda::cublas(), CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, a.data(),
                                  CUDA_R_32F, 2, a.data(), CUDA_R_32F, 2, &zero, c.data(),
                                  CUDA_R_32F, 2, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                     "cublasGemmEx");
  CHECK(c.read() == std::vector<float>(4, 2.0f));
}

TEST_CASE("cublas: a leading dimension that is too small is an error") {
  if (!testing::device_answers()) return;
  const float one = 1, zero = 0;
  Buffer<float> a(16);
  auto status = [&](int lda, int ldb, int ldc) {
    return cublasGemmEx(cuda::cublas(), CUBLAS_OP_N, CUBLAS_OP_T, 4, 2, 3, &one, a.data(),
                        CUDA_R_32F, lda, a.data(), CUDA_R_32F, ldb, &zero, a.data(), CUDA_R_32F,
                        ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
  };
  CHECK(status(3, 2, 4) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(status(4, 1, 4) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(status(4, 2, 3) == CUBLAS_STATUS_INVALID_VALUE);
}
