// Folded weights of upsampling and convolution (tensor/kernels/conv_upsample.h): one thread per
// sum, f32, rounded once. The arrays are weights, a few megabytes at most; a block turns a square
// of output and input channels through shared memory, so that both sides move whole sectors.
#include "cuda/element.h"
#include "cuda/launch.h"
#include "tensor/kernels/conv_upsample.h"
#include "tensor/kernels/index.h"
#include "tensor/math.h"

namespace ito::kernel {
namespace {

using namespace ito::cuda;
constexpr int side = 32, lines = 8;

/// to[b, r', s', a] = sum over e, d of from[a, e + rows - 1 - r', d + columns - 1 - s', b], zero
/// outside: `from` is [size_a, rows, columns, size_b], `to` has to_rows x to_columns taps. Both
/// directions have this form, because e + kh - 1 - r' = r says r' = e + kh - 1 - r.
template <class T>
__global__ void fold(const T* from, T* to, int size_a, int rows, int columns, int size_b,
                     int to_rows, int to_columns, int last_row, int last_column, int factor) {
  ITO_SHARED(float, tile, [side][side + 1]);
  const int tiles_b = ceil_div(size_b, side);
  const int a0 = static_cast<int>(blockIdx.x) / tiles_b * side;
  const int b0 = static_cast<int>(blockIdx.x) % tiles_b * side;
  const int r = static_cast<int>(blockIdx.y) / to_columns;
  const int c = static_cast<int>(blockIdx.y) % to_columns;
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  for (int j = y; j < side; j += lines) {
    const int a = a0 + j, b = b0 + x;
    float sum = 0.0f;
    for (int e = 0; e < factor; ++e) {
      const int row = e + last_row - r;
      for (int d = 0; d < factor; ++d) {
        const int column = d + last_column - c;
        const bool there =
            a < size_a && b < size_b && row >= 0 && row < rows && column >= 0 && column < columns;
        if (there) sum += to_float(from[((Index{a} * rows + row) * columns + column) * size_b + b]);
      }
    }
    tile[j][x] = sum;
  }
  __syncthreads();
  for (int j = y; j < side; j += lines) {
    const int b = b0 + j, a = a0 + x;
    if (a < size_a && b < size_b) {
      to[((Index{b} * to_rows + r) * to_columns + c) * size_a + a] = from_float<T>(tile[x][j]);
    }
  }
}

int narrow(Index i) { return static_cast<int>(i); }

dim3 grid(Index size_a, Index size_b, Index taps) {
  const Index tiles = ceil_div(size_a, side) * ceil_div(size_b, side);
  return {static_cast<unsigned>(tiles), static_cast<unsigned>(taps)};
}

}  // namespace

void FoldUpsampling::cuda(const Args& a) {
  with_element(name, a.dtype, [&]<class T>(T) {
    const FoldShape& s = a.shape;
    const Index rows = s.kh + s.factor - 1, columns = s.kw + s.factor - 1;
    launch(fold<T>, grid(s.out, s.in, rows * columns), dim3(side, lines), 0,
           static_cast<const T*>(a.weight), static_cast<T*>(a.folded), narrow(s.out), narrow(s.kh),
           narrow(s.kw), narrow(s.in), narrow(rows), narrow(columns), narrow(s.kh - 1),
           narrow(s.kw - 1), narrow(s.factor));
  });
}

void FoldUpsamplingGrad::cuda(const Args& a) {
  with_element(name, a.dtype, [&]<class T>(T) {
    const FoldShape& s = a.shape;
    const Index rows = s.kh + s.factor - 1, columns = s.kw + s.factor - 1;
    launch(fold<T>, grid(s.in, s.out, s.kh * s.kw), dim3(side, lines), 0,
           static_cast<const T*>(a.dfolded), static_cast<T*>(a.dweight), narrow(s.in), narrow(rows),
           narrow(columns), narrow(s.out), narrow(s.kh), narrow(s.kw), narrow(s.kh - 1),
           narrow(s.kw - 1), narrow(s.factor));
  });
}

}  // namespace ito::kernel
