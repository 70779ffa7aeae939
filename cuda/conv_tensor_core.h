// The tensor-core matrix product of one block of threads: D [M, N] = A B in bf16 with f32 sums. The
// two operands come through loaders, so that convolution and its weight gradient share it.
//
//   global memory --cp.async--> ring of `stages` tiles in shared memory --ldmatrix--> registers
//
// While block k of the sum is multiplied, the copies of the next stages - 1 blocks are under way;
// one barrier per block both publishes the arrived tile and frees the one that was read last.
//
// A tile in shared memory is rows of 16-byte chunks (8 bf16). ldmatrix reads the same chunk of
// eight neighbouring rows at once, which would all lie in the same banks; chunk c of row r is kept
// at c ^ f(r), so that any eight neighbouring rows meet all 32 banks.
//
// Two orders of a tile, after what is contiguous in global memory:
//   Major::k   row = row of A (or column of B), chunks along k         ldmatrix
//   Major::mn  row = k, chunks along the rows of A (columns of B)      ldmatrix.trans
//
// Per block of k and warp tile of 64 x 64: 32 mma per 16 of k (131072 FLOPs), 8 ldmatrix (4 KB from
// shared memory): 32 FLOPs per byte, where one mma alone, from shared memory, has 10.7.
#pragma once

#include "cuda/element.h"
#include "cuda/launch.h"
#include "cuda/ptx.h"

namespace ito::cuda::conv {

enum class Major { k, mn };

/// Tiles of m x n, k at a time, by warps of warp_m x warp_n.
template <int m_, int n_, int k_, int warp_m_, int warp_n_, int stages_, Major major_>
struct Tiling {
  static constexpr int m = m_, n = n_, k = k_, warp_m = warp_m_, warp_n = warp_n_;
  static constexpr int stages = stages_;
  static constexpr Major major = major_;
  static constexpr int warps_n = n / warp_n;
  static constexpr int threads = m / warp_m * warps_n * 32;
  static constexpr int fragments_m = warp_m / 16, fragments_n = warp_n / 8;
  static constexpr int a_elements = m * k, b_elements = n * k;
  static constexpr int stage_elements = a_elements + b_elements;

  // The finished tile leaves through shared memory, 16 rows of each warp at a time.
  static constexpr int out_stride = warp_n + 8;  // in f32; 8 mod 32: no bank twice
  static constexpr std::size_t out_bytes = sizeof(float) * 16 * out_stride * (threads / 32);
  static constexpr std::size_t ring_bytes = 2 * std::size_t{stages} * stage_elements;
  static constexpr std::size_t shared_bytes = ring_bytes > out_bytes ? ring_bytes : out_bytes;

  static_assert(k % 16 == 0 && warp_m % 16 == 0 && warp_n % 16 == 0 && stages >= 2);
};

/// Where chunk `chunk` of row `row` begins, in elements, in a tile of `chunks` chunks per row.
template <int chunks>
__device__ __forceinline__ int swizzled(int row, int chunk) {
  static_assert((chunks & (chunks - 1)) == 0);
  constexpr int rows_per_line = chunks >= 8 ? 1 : 8 / chunks;  // a line: 128 bytes, all banks
  constexpr int mask = chunks >= 8 ? 7 : chunks - 1;
  return (row * chunks + (chunk ^ (row / rows_per_line & mask))) * 8;
}

template <class Tile>
struct Warp {
  int lane, m, n;  // the warp's first row and column in the tile

  __device__ Warp() {
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
    lane = thread % 32;
    m = warp / Tile::warps_n * Tile::warp_m, n = warp % Tile::warps_n * Tile::warp_n;
  }
};

/// Fragments of A and B for 16 of k.
template <class Tile>
struct Fragments {
  std::uint32_t a[Tile::fragments_m][4];
  std::uint32_t b[Tile::fragments_n / 2][4];  // two columns of fragments each

  // The matrices of one ldmatrix.x4, in the order of the registers of the fragment (cuda/ptx.h):
  // A: rows 0-7 and 8-15 at k 0-7, then at k 8-15; B: k 0-7 and 8-15 of n 0-7, then of n 8-15.
  __device__ __forceinline__ void load(const bf16* tile_a, const bf16* tile_b, int step,
                                       const Warp<Tile>& warp) {
    const int low = warp.lane % 8, second = warp.lane / 8 % 2, third = warp.lane / 16;
#pragma unroll
    for (int i = 0; i < Tile::fragments_m; ++i) {
      if constexpr (Tile::major == Major::k) {
        const int row = warp.m + 16 * i + 8 * second + low;
        ptx::ldmatrix_x4(a[i], tile_a + swizzled<Tile::k / 8>(row, 2 * step + third));
      } else {
        const int row = 16 * step + 8 * third + low;
        ptx::ldmatrix_x4_trans(a[i],
                               tile_a + swizzled<Tile::m / 8>(row, warp.m / 8 + 2 * i + second));
      }
    }
#pragma unroll
    for (int j = 0; j < Tile::fragments_n / 2; ++j) {
      if constexpr (Tile::major == Major::k) {
        const int row = warp.n + 16 * j + 8 * third + low;
        ptx::ldmatrix_x4(b[j], tile_b + swizzled<Tile::k / 8>(row, 2 * step + second));
      } else {
        const int row = 16 * step + 8 * second + low;
        ptx::ldmatrix_x4_trans(b[j],
                               tile_b + swizzled<Tile::n / 8>(row, warp.n / 8 + 2 * j + third));
      }
    }
  }
};

template <class Tile>
using Sums = float[Tile::fragments_m][Tile::fragments_n][4];

template <class Tile>
__device__ __forceinline__ void multiply_fragments(Sums<Tile>& sums, const Fragments<Tile>& f) {
#pragma unroll
  for (int i = 0; i < Tile::fragments_m; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::fragments_n; ++j) {
      ptx::mma_m16n8k16(sums[i][j], f.a[i], f.b[j / 2][j % 2 * 2], f.b[j / 2][j % 2 * 2 + 1]);
    }
  }
}

/// sums += A B over `blocks` blocks of k. The loader's load(tile_a, tile_b) starts the copies of
/// its next block and moves on.
template <class Tile, class Loader>
__device__ __forceinline__ void multiply(Loader& loader, int blocks, bf16* ring, Sums<Tile>& sums) {
  const Warp<Tile> warp;
  int filling = 0, reading = 0;  // stages, in elements from the start of the ring
  const auto next = [](int& stage) {
    stage += Tile::stage_elements;
    if (stage == Tile::stages * Tile::stage_elements) stage = 0;
  };
  const auto start = [&] {
    loader.load(ring + filling, ring + filling + Tile::a_elements);
    next(filling);
  };
#pragma unroll
  for (int block = 0; block < Tile::stages - 1; ++block) {
    if (block < blocks) start();
    ptx::cp_async_commit();  // an empty group too: the wait below counts groups
  }
  for (int block = 0; block < blocks; ++block) {
    ptx::cp_async_wait<Tile::stages - 2>();
    __syncthreads();
    const bf16* stage = ring + reading;
    Fragments<Tile> fragments[2];
    fragments[0].load(stage, stage + Tile::a_elements, 0, warp);
    if (block + Tile::stages - 1 < blocks) start();
    ptx::cp_async_commit();
#pragma unroll
    for (int step = 0; step < Tile::k / 16; ++step) {
      if (step + 1 < Tile::k / 16) {
        fragments[(step + 1) % 2].load(stage, stage + Tile::a_elements, step + 1, warp);
      }
      multiply_fragments<Tile>(sums, fragments[step % 2]);
    }
    next(reading);
  }
  ptx::cp_async_wait<0>();
  __syncthreads();
}

/// Calls store(row, column, values) with the tile's sums, 8 neighbouring columns at a time: the
/// fragments of a thread hold two, so they pass through shared memory, which is free after
/// `multiply`.
template <class Tile, class Store>
__device__ __forceinline__ void for_rows(const Sums<Tile>& sums, bf16* ring, Store store) {
  const Warp<Tile> warp;
  float* out =
      reinterpret_cast<float*>(ring) + static_cast<int>(threadIdx.x) / 32 * 16 * Tile::out_stride;
  const int g = warp.lane / 4, t = warp.lane % 4;
#pragma unroll
  for (int i = 0; i < Tile::fragments_m; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::fragments_n; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        Vec<float, 2> pair;
        pair[0] = sums[i][j][2 * half], pair[1] = sums[i][j][2 * half + 1];
        *reinterpret_cast<Vec<float, 2>*>(out + (g + 8 * half) * Tile::out_stride + 8 * j + 2 * t) =
            pair;
      }
    }
    __syncwarp();
    constexpr int vectors = Tile::warp_n / 8;
    for (int v = warp.lane; v < 16 * vectors; v += 32) {
      const int row = v / vectors, column = v % vectors * 8;
      const Vec<float, 4>* from =
          reinterpret_cast<const Vec<float, 4>*>(out + row * Tile::out_stride + column);
      const Vec<float, 4> low = from[0], high = from[1];
      float values[8];
#pragma unroll
      for (int k = 0; k < 4; ++k) values[k] = low[k], values[4 + k] = high[k];
      store(warp.m + 16 * i + row, warp.n + column, values);
    }
    __syncwarp();
  }
}

}  // namespace ito::cuda::conv
