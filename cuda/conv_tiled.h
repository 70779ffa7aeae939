// The f32 matrix product of one block of threads, shared by the tiled convolution and its weight
// gradient: D [M, N] = A B with tiles of M x N held in the registers of 256 threads.
//
// Each block of 8 along k is loaded once per tile instead of once per output, so each loaded value
// serves 128 (or 64) products; from shared memory to registers each serves 8 (or 4). Two tiles in
// shared memory: while one is multiplied, the next is on its way through registers.
//
// 128 x 128: 64 multiply-adds for 4 loads of 16 bytes from shared memory per thread and step of k;
// 16.5 KiB of shared memory; 32 FLOPs per byte read from global memory or L2.
#pragma once

#include "cuda/conv_problem.h"

namespace ito::cuda::conv {

using FourFloats = Vec<float, 4>;

/// Tiles of m x n in blocks of k; 16 x 16 threads with (m / 16) x (n / 16) sums each, in groups of
/// 4 x 4 that lie 64 apart.
template <int m_, int n_>
struct Registers {
  static constexpr int m = m_, n = n_, k = 8, threads = 256;
  static constexpr int rows = m / 16, columns = n / 16;
  static constexpr int m_stride = m + 4, n_stride = n + 4;  // + 4: columns of k in other banks
  static constexpr int stage = k * (m_stride + n_stride);
  static_assert(m % 64 == 0 && n % 64 == 0);
};

/// sums += A B over `blocks` blocks of k. The loader's fetch() brings its next block into registers
/// and put(tile_a, tile_b) writes it to shared memory as [k][stride].
template <class Tile, class Loader>
__device__ __forceinline__ void multiply(Loader& loader, int blocks, float* shared,
                                         float (&sums)[Tile::rows][Tile::columns]) {
  const int thread = static_cast<int>(threadIdx.x), tx = thread % 16, ty = thread / 16;
  const auto put = [&](int block) {
    float* stage = shared + block % 2 * Tile::stage;
    loader.put(stage, stage + Tile::k * Tile::m_stride);
  };
  if (blocks > 0) {
    loader.fetch();
    put(0);
  }
  for (int block = 0; block < blocks; ++block) {
    __syncthreads();
    const bool more = block + 1 < blocks;
    if (more) loader.fetch();
    const float* tile_a = shared + block % 2 * Tile::stage + 4 * ty;
    const float* tile_b = shared + block % 2 * Tile::stage + Tile::k * Tile::m_stride + 4 * tx;
#pragma unroll
    for (int k = 0; k < Tile::k; ++k) {
      FourFloats row[Tile::rows / 4], column[Tile::columns / 4];
#pragma unroll
      for (int i = 0; i < Tile::rows / 4; ++i) {
        row[i] = *reinterpret_cast<const FourFloats*>(tile_a + k * Tile::m_stride + 64 * i);
      }
#pragma unroll
      for (int j = 0; j < Tile::columns / 4; ++j) {
        column[j] = *reinterpret_cast<const FourFloats*>(tile_b + k * Tile::n_stride + 64 * j);
      }
#pragma unroll
      for (int i = 0; i < Tile::rows; ++i) {
#pragma unroll
        for (int j = 0; j < Tile::columns; ++j) {
          sums[i][j] += row[i / 4][i % 4] * column[j / 4][j % 4];
        }
      }
    }
    if (more) put(block + 1);
  }
}

/// Calls store(row, column, values) with the sums of this thread, 4 neighbouring columns at a time.
template <class Tile, class Store>
__device__ __forceinline__ void for_rows(float (&sums)[Tile::rows][Tile::columns], Store store) {
  const int thread = static_cast<int>(threadIdx.x), tx = thread % 16, ty = thread / 16;
#pragma unroll
  for (int i = 0; i < Tile::rows; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::columns / 4; ++j) {
      float values[4];
#pragma unroll
      for (int l = 0; l < 4; ++l) values[l] = sums[i][4 * j + l];
      store(i / 4 * 64 + 4 * ty + i % 4, 64 * j + 4 * tx, values);
    }
  }
}

}  // namespace ito::cuda::conv
