#include <cublas_v2.h>

#include <Eigen/Core>
#include <algorithm>

#include "cuda/emulate/stream.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasPointerMode_t pointers = CUBLAS_POINTER_MODE_HOST;
};

namespace ito::emulate {
namespace {

// One batched product; strides in elements.
struct Gemm {
  bool transpose_a, transpose_b;
  int m, n, k, lda, ldb, ldc, batch;
  float alpha, beta;
  cudaDataType type_ab, type_c;
};

bool is_known(cudaDataType type) { return type == CUDA_R_32F || type == CUDA_R_16BF; }

// What cuBLAS refuses: negative sizes, leading dimensions shorter than the columns they hold,
// combinations of types that it does not have.
cublasStatus_t verify(const Gemm& g, cudaDataType type_b) {
  if (g.m < 0 || g.n < 0 || g.k < 0 || g.batch < 0) return CUBLAS_STATUS_INVALID_VALUE;
  if (g.lda < std::max(1, g.transpose_a ? g.k : g.m)) return CUBLAS_STATUS_INVALID_VALUE;
  if (g.ldb < std::max(1, g.transpose_b ? g.n : g.k)) return CUBLAS_STATUS_INVALID_VALUE;
  if (g.ldc < std::max(1, g.m)) return CUBLAS_STATUS_INVALID_VALUE;
  if (!is_known(g.type_ab) || type_b != g.type_ab) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (g.type_c != CUDA_R_32F && g.type_c != g.type_ab) return CUBLAS_STATUS_NOT_SUPPORTED;
  return CUBLAS_STATUS_SUCCESS;
}

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
template <class T>
using Strided = Eigen::Map<T, Eigen::Unaligned, Eigen::OuterStride<>>;

// op(matrix) in f32; rows and columns are those of op(matrix).
template <class T>
Matrix<float> load(const void* p, bool transpose, int rows, int columns, int leading) {
  const auto* data = static_cast<const T*>(p);
  if (transpose)
    return Strided<const Matrix<T>>(data, columns, rows, Eigen::OuterStride<>(leading))
        .template cast<float>()
        .transpose();
  return Strided<const Matrix<T>>(data, rows, columns, Eigen::OuterStride<>(leading))
      .template cast<float>();
}

template <class T, class C>
void multiply(const Gemm& g, const void* a, const void* b, void* c) {
  Strided<Matrix<C>> out(static_cast<C*>(c), g.m, g.n, Eigen::OuterStride<>(g.ldc));
  Matrix<float> product = Matrix<float>::Zero(g.m, g.n);
  if (g.k > 0) {
    product.noalias() =
        load<T>(a, g.transpose_a, g.m, g.k, g.lda) * load<T>(b, g.transpose_b, g.k, g.n, g.ldb);
  }
  product *= g.alpha;
  if (g.beta != 0) product += g.beta * out.template cast<float>();  // C may be NaN if beta is 0
  out = product.template cast<C>();
}

void multiply(const Gemm& g, const void* a, const void* b, void* c) {
  using Eigen::bfloat16;
  if (g.type_ab == CUDA_R_32F) return multiply<float, float>(g, a, b, c);
  if (g.type_c == CUDA_R_32F) return multiply<bfloat16, float>(g, a, b, c);
  return multiply<bfloat16, bfloat16>(g, a, b, c);
}

long long size_of(cudaDataType type) { return type == CUDA_R_32F ? 4 : 2; }

const void* at(const void* p, long long elements, cudaDataType type) {
  return static_cast<const char*>(p) + elements * size_of(type);
}

cublasStatus_t status_of(cudaError_t error) {
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

Gemm describe(cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
              const void* alpha, cudaDataType type_a, int lda, int ldb, const void* beta,
              cudaDataType type_c, int ldc, int batch) {
  return {op_a != CUBLAS_OP_N,
          op_b != CUBLAS_OP_N,
          m,
          n,
          k,
          lda,
          ldb,
          ldc,
          batch,
          *static_cast<const float*>(alpha),
          *static_cast<const float*>(beta),
          type_a,
          type_c};
}

}  // namespace
}  // namespace ito::emulate

using namespace ito::emulate;

const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown";
}
const char* cublasGetStatusString(cublasStatus_t status) { return cublasGetStatusName(status); }

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetVersion(cublasHandle_t, int* version) {
  *version = 130000;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t, void* workspace, std::size_t) {
  return reinterpret_cast<std::uintptr_t>(workspace) % 256 == 0 ? CUBLAS_STATUS_SUCCESS
                                                                : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetPointerMode(cublasHandle_t, cublasPointerMode_t mode) {
  return mode == CUBLAS_POINTER_MODE_HOST ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                            int m, int n, int k, const void* alpha, const void* a,
                            cudaDataType type_a, int lda, const void* b, cudaDataType type_b,
                            int ldb, const void* beta, void* c, cudaDataType type_c, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
  return cublasGemmStridedBatchedEx(handle, op_a, op_b, m, n, k, alpha, a, type_a, lda, 0, b,
                                    type_b, ldb, 0, beta, c, type_c, ldc, 0, 1, compute, algorithm);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t op_a,
                                          cublasOperation_t op_b, int m, int n, int k,
                                          const void* alpha, const void* a, cudaDataType type_a,
                                          int lda, long long stride_a, const void* b,
                                          cudaDataType type_b, int ldb, long long stride_b,
                                          const void* beta, void* c, cudaDataType type_c, int ldc,
                                          long long stride_c, int batch, cublasComputeType_t,
                                          cublasGemmAlgo_t) {
  const Gemm g = describe(op_a, op_b, m, n, k, alpha, type_a, lda, ldb, beta, type_c, ldc, batch);
  if (const cublasStatus_t s = verify(g, type_b)) return s;
  return status_of(submit(handle->stream, [=] {
    for (int i = 0; i < g.batch; ++i)
      multiply(g, at(a, i * stride_a, g.type_ab), at(b, i * stride_b, g.type_ab),
               const_cast<void*>(at(c, i * stride_c, g.type_c)));
  }));
}

cublasStatus_t cublasGemmBatchedEx(cublasHandle_t handle, cublasOperation_t op_a,
                                   cublasOperation_t op_b, int m, int n, int k, const void* alpha,
                                   const void* const a[], cudaDataType type_a, int lda,
                                   const void* const b[], cudaDataType type_b, int ldb,
                                   const void* beta, void* const c[], cudaDataType type_c, int ldc,
                                   int batch, cublasComputeType_t, cublasGemmAlgo_t) {
  const Gemm g = describe(op_a, op_b, m, n, k, alpha, type_a, lda, ldb, beta, type_c, ldc, batch);
  if (const cublasStatus_t s = verify(g, type_b)) return s;
  return status_of(submit(handle->stream, [=] {
    for (int i = 0; i < g.batch; ++i) multiply(g, a[i], b[i], c[i]);
  }));
}
