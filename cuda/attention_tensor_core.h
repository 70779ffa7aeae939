// Attention's tiles on the tensor cores: what forward and gradient share. For kernels of
// cuda/attention_tensor_core*.cu.
//
// A block of four warps owns 64 rows (queries; for dk and dv, keys), a warp 16 of them, and walks
// the other side in tiles. Scores come out of mma.sync as C fragments, and two neighbouring C
// fragments are, packed to bf16, exactly the A fragment of the next product: probabilities go from
// one product to the next in registers.
#pragma once

#include <bit>

#include "cuda/attention_rows.h"
#include "tensor/math.h"

namespace ito::cuda::attention {

inline constexpr int own_rows = 64, block_threads = 128;

struct Inputs {
  const bf16 *q, *k, *v, *mask, *dy;
  const float *lse, *dy_dot_y;
  Shape a;
};

/// Which rows a block owns.
struct Block {
  Index nh, first;
  __device__ explicit Block(Index length)
      : nh(blockIdx.x / ceil_div(length, own_rows)),
        first(blockIdx.x % ceil_div(length, own_rows) * own_rows) {}
};

/// How many of `rows` rows from `first` on there are.
__device__ inline int rows_left(Index length, Index first, int rows) {
  return static_cast<int>(min(length - first, Index{rows}));
}

/// This thread's place in fragments: rows g and g + 8 of its warp's 16, columns 2 t and 2 t + 1 of
/// each 8.
struct Lane {
  int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  __device__ int row(int half) const { return 16 * warp + lane / 4 + 8 * half; }
  __device__ int column(int tile, int c) const { return 8 * tile + 2 * (lane % 4) + c; }
};

/// Rows of up to D channels in shared memory, N at a time from the other side. Rows are 16 bytes
/// longer than their channels: the eight rows that ldmatrix reads at once lie in different banks.
template <int D, int N>
struct Tile {
  static constexpr int stride = D + 8;
  static constexpr int own_size = own_rows * stride, other_size = N * stride;  // elements
  using Scores = float[N / 8][4];                                              // [16, N] of a warp
  using Operand = std::uint32_t[N / 16][4];  // the same as A fragments
  using Results = float[D / 8][4];           // [16, D] of a warp

  /// Starts the copy of `rows` rows, of which `count` exist, and zeros for the others.
  template <int rows>
  __device__ static void copy(bf16* tile, const bf16* x, Index count, const Shape& a) {
    const Index width = a.heads * a.d;
    for (int e = static_cast<int>(threadIdx.x); e < rows * (D / 8); e += block_threads) {
      const int r = e / (D / 8), c = e % (D / 8) * 8;
      const bool valid = r < count && c < a.d;
      ptx::cp_async_16(tile + r * stride + c, valid ? x + r * width + c : x, valid);
    }
  }

  /// own other^T over the first 16 blocks channels, for the warp's 16 rows
  __device__ static void multiply(Scores& scores, const bf16* own, const bf16* other, int blocks) {
    const Lane l;
    const bf16* const a_row = own + (16 * l.warp + l.lane % 16) * stride + l.lane / 16 * 8;
    const bf16* const b_row = other + (l.lane % 8 + l.lane / 16 * 8) * stride + l.lane / 8 % 2 * 8;
#pragma unroll
    for (int j = 0; j < N / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[j][i] = 0.0f;
    }
#pragma unroll 4
    for (int k = 0; k < blocks; ++k) {
      std::uint32_t a[4];
      ptx::ldmatrix_x4(a, a_row + 16 * k);
#pragma unroll
      for (int j = 0; j < N / 16; ++j) {
        std::uint32_t b[4];
        ptx::ldmatrix_x4(b, b_row + 16 * j * stride + 16 * k);
        ptx::mma_m16n8k16(scores[2 * j], a, b[0], b[1]);
        ptx::mma_m16n8k16(scores[2 * j + 1], a, b[2], b[3]);
      }
    }
  }

  __device__ static void pack(Operand& p, const Scores& scores) {
#pragma unroll
    for (int k = 0; k < N / 16; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float(&from)[4] = scores[2 * k + i / 2];
        p[k][i] = ptx::pack_bf16(from[i % 2 * 2], from[i % 2 * 2 + 1]);
      }
    }
  }

  /// sum += p other, the first 16 blocks channels
  __device__ static void accumulate(Results& sum, const Operand& p, const bf16* other, int blocks) {
    const Lane l;
    const bf16* const b_row = other + l.lane % 16 * stride + l.lane / 16 * 8;
#pragma unroll
    for (int j = 0; j < D / 16; ++j) {
      if (j >= blocks) break;
#pragma unroll
      for (int k = 0; k < N / 16; ++k) {
        std::uint32_t b[4];
        ptx::ldmatrix_x4_trans(b, b_row + 16 * k * stride + 16 * j);
        ptx::mma_m16n8k16(sum[2 * j], p[k], b[0], b[1]);
        ptx::mma_m16n8k16(sum[2 * j + 1], p[k], b[2], b[3]);
      }
    }
  }

  /// y = factor sum for the rows below `count`, through the warp's own rows of shared memory, so
  /// that 16 bytes are written at a time.
  __device__ static void store(bf16* y, const Results& sum, const float (&factor)[2], bf16* own,
                               Index count, const Shape& a) {
    const Lane l;
    __syncwarp();
#pragma unroll
    for (int j = 0; j < D / 8; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        using Two = Vec<bf16, 2>;
        *reinterpret_cast<Two*>(own + l.row(half) * stride + l.column(j, 0)) = std::bit_cast<Two>(
            ptx::pack_bf16(factor[half] * sum[j][2 * half], factor[half] * sum[j][2 * half + 1]));
      }
    }
    __syncwarp();
    const Index width = a.heads * a.d;
    for (int e = l.lane; e < 16 * (D / 8); e += 32) {
      const int r = 16 * l.warp + e / (D / 8), c = e % (D / 8) * 8;
      if (r < count && c < a.d) {
        *reinterpret_cast<Vec<bf16>*>(y + r * width + c) =
            *reinterpret_cast<const Vec<bf16>*>(own + r * stride + c);
      }
    }
  }
};

/// f(other, other2, first row) for every tile of two arrays [length, d]; while a tile is computed
/// with, the next is on its way. `shared` holds two tiles of each.
template <class Tile, int N, class F>
__device__ void for_tiles(bf16* shared, const bf16* x, const bf16* x2, Index length, const Shape& a,
                          F f) {
  const auto copy = [&](Index first) {
    bf16* const to = shared + first / N % 2 * 2 * Tile::other_size;
    Tile::template copy<N>(to, x + first * a.heads * a.d, length - first, a);
    Tile::template copy<N>(to + Tile::other_size, x2 + first * a.heads * a.d, length - first, a);
  };
  if (length > 0) copy(0);
  ptx::cp_async_commit();
  for (Index first = 0; first < length; first += N) {
    if (first + N < length) copy(first + N);
    ptx::cp_async_commit();
    ptx::cp_async_wait<1>();
    __syncthreads();
    const bf16* const at = shared + first / N % 2 * 2 * Tile::other_size;
    f(at, at + Tile::other_size, first);
    __syncthreads();  // the tile is overwritten two turns on
  }
  ptx::cp_async_wait<0>();
  __syncthreads();  // of no tiles, too: what was copied before is there for all
}

/// Whether head dimension and arrays are multiples of the 16 bytes that cp.async copies.
template <class... P>
bool fits_tensor_core(const Shape& a, DType dtype, P... arrays) {
  return dtype == DType::bf16 && a.d <= 256 && a.d % 8 == 0 &&
         (is_aligned<Vec<bf16>>(arrays) && ...);
}

inline unsigned tensor_core_blocks(const Shape& a, Index length) {
  return static_cast<unsigned>(a.n * a.heads * ceil_div(length, own_rows));
}

/// f with the head dimension rounded up to one of those compiled, as a constant.
template <class F>
void with_dimension(Index d, F f) {
  if (d <= 32) return f(std::integral_constant<int, 32>{});
  if (d <= 64) return f(std::integral_constant<int, 64>{});
  if (d <= 128) return f(std::integral_constant<int, 128>{});
  f(std::integral_constant<int, 256>{});
}

}  // namespace ito::cuda::attention
