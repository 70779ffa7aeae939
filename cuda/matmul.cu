// Matrix products: cuBLAS. Products without a shape of their own are what a library is for; the
// kernels of this folder are those that need more (convolution, attention).
//
// cuBLAS stores matrices by columns. A row-major y [m, n] is a column-major y^T [n, m], and
//   y = op(a) op(b)   <=>   y^T = op(b)^T op(a)^T,
// so the operands change places and keep their flags: a row-major b [k, n] already is a column-
// major b^T.
#include <cublas_v2.h>

#include <climits>
#include <string>

#include "cuda/element.h"
#include "cuda/launch.h"
#include "tensor/kernels/matmul.h"

namespace ito::kernel {
namespace {

using cuda::grid_stride;

// y[row, :] = bias, or 0 without one, in vectors V; `columns` of them to a row.
template <class V>
__global__ void preset_rows(V* y, const V* bias, std::int64_t columns, std::int64_t total) {
  for (std::int64_t i : grid_stride(total)) y[i] = bias != nullptr ? bias[i % columns] : V{};
}

int as_int(std::int64_t value) {
  if (value > INT_MAX) {
    throw ShapeError("matmul: the device takes sizes up to 2147483647; got " +
                     std::to_string(value));
  }
  return static_cast<int>(value);
}

template <class V>
void preset_with(const Matmul::Args& s, std::int64_t columns) {
  const std::int64_t total = s.batch * s.m * columns;
  cuda::launch(preset_rows<V>, cuda::blocks_for(total, 256), 256, 0, static_cast<V*>(s.y),
               static_cast<const V*>(s.bias), columns, total);
}

template <class T>
void preset(const Matmul::Args& s) {
  using V = cuda::Vec<T>;
  if (s.n % V::size == 0 && cuda::is_aligned<V>(s.y) && cuda::is_aligned<V>(s.bias)) {
    preset_with<V>(s, s.n / V::size);
  } else {
    preset_with<T>(s, s.n);
  }
}

}  // namespace

void Matmul::cuda(const Args& given) {
  Args s = given;
  if (s.batch == 0 || s.m == 0 || s.n == 0) return;
  // One b for all: the batch is more rows of a.
  if (s.b_step == 0 && !s.transpose_a && s.a_step == s.m * s.k) {
    s.m *= s.batch;
    s.batch = 1;
  }
  // The bias is y's value before the product is added: one rounding, in the product's store.
  cuda::with_element(name, s.dtype, [&]<class T>(T) {
    if (s.bias != nullptr || s.k == 0) preset<T>(s);
  });
  if (s.k == 0) return;
  const cudaDataType_t type = s.dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
  const float one = 1.0f, beta = s.bias != nullptr ? 1.0f : 0.0f;
  const int m = as_int(s.m), n = as_int(s.n), k = as_int(s.k);
  cuda::check_cublas(
      cublasGemmStridedBatchedEx(cuda::cublas(), s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                                 s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, n, m, k, &one, s.b,
                                 type, s.transpose_b ? k : n, s.b_step, s.a, type,
                                 s.transpose_a ? m : k, s.a_step, &beta, s.y, type, n, s.m * s.n,
                                 as_int(s.batch), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
      "cublasGemmStridedBatchedEx");
}

}  // namespace ito::kernel
