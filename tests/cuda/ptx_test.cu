// Each function of cuda/ptx.h against what the PTX ISA says, written here a second time as plain
// loops over matrices; on the emulated device and on a GPU.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "tests/cuda/buffer.h"
#include "tests/devices.h"

using namespace ito;
using cuda::launch;
using testing::Buffer;
namespace ptx = cuda::ptx;

namespace {

__global__ void cast(const float* x, std::uint32_t* y, int n) {
  for (std::int64_t i : cuda::grid_stride(n)) {
    y[2 * i] = ptx::to_bf16(x[i]).bits;
    y[2 * i + 1] = ptx::pack_bf16(x[i], x[n - 1 - i]);
  }
}

// Copies 128 floats through shared memory in two groups; those at `hole` and behind become zero.
__global__ void copy(const float* x, float* y, int hole) {
  ITO_SHARED(float, tile, [2][64]);
  const int i = static_cast<int>(threadIdx.x);
  for (int group = 0; group < 2; ++group) {
    if (i < 16) {
      const int at = 64 * group + 4 * i;
      ptx::cp_async_16(&tile[group][4 * i], x + at, at < hole);
    }
    ptx::cp_async_commit();
  }
  ptx::cp_async_wait<1>();
  __syncthreads();
  y[i] = tile[0][i];
  ptx::cp_async_wait<0>();
  __syncthreads();
  y[64 + i] = tile[1][i];
}

// Matrices of 16-bit numbers, 32 rows of 8: four matrices. y[lane][0..3]: their fragments.
__global__ void load_matrices(const std::uint16_t* x, std::uint32_t* y, bool transposed) {
  ITO_SHARED(uint4, rows, [32][3]);  // 48 bytes apart
  const int lane = static_cast<int>(threadIdx.x);
  auto* const row = reinterpret_cast<std::uint16_t*>(rows[lane]);
  for (int k = 0; k < 8; ++k) row[k] = x[8 * lane + k];
  __syncwarp();
  std::uint32_t r[4];
  if (transposed)
    ptx::ldmatrix_x4_trans(r, row);
  else
    ptx::ldmatrix_x4(r, row);
  for (int m = 0; m < 4; ++m) y[4 * lane + m] = r[m];
}

// Each warp multiplies fragments that it gathers from global memory by the tables of the PTX ISA
// (section "Matrix Fragments for mma.m16n8k16"): groupID = lane >> 2, threadID_in_group = lane % 4.
__global__ void multiply(const bf16* a, const bf16* b, float* d) {
  const int lane = static_cast<int>(threadIdx.x), group = lane >> 2, in_group = lane % 4;
  std::uint32_t fa[4], fb[2];
  for (int r = 0; r < 4; ++r) {
    std::uint32_t word = 0;
    for (int half = 0; half < 2; ++half) {
      const int i = 2 * r + half;
      const int row = (i >= 0 && i < 2) || (i >= 4 && i < 6) ? group : group + 8;
      const int column = i < 4 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
      word |= std::uint32_t{a[row * 16 + column].bits} << 16 * half;
    }
    fa[r] = word;
  }
  for (int r = 0; r < 2; ++r) {
    std::uint32_t word = 0;
    for (int half = 0; half < 2; ++half) {
      const int i = 2 * r + half;
      const int row = i < 2 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
      word |= std::uint32_t{b[row * 8 + group].bits} << 16 * half;
    }
    fb[r] = word;
  }
  float fd[4];
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? group : group + 8, column = in_group * 2 + (i & 1);
    fd[i] = d[row * 8 + column];
  }
  ptx::mma_m16n8k16(fd, fa, fb[0], fb[1]);
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? group : group + 8, column = in_group * 2 + (i & 1);
    d[row * 8 + column] = fd[i];
  }
}

// The same product as kernels do it: both operands through shared memory and ldmatrix, b stored as
// rows of k and read transposed.
__global__ void multiply_from_shared(const bf16* a, const bf16* b, float* d) {
  ITO_SHARED(uint4, storage, [(16 * 24 + 16 * 8) / 8]);
  auto* const tile_a = reinterpret_cast<bf16*>(storage);
  bf16* const tile_b = tile_a + 16 * 24;
  const int lane = static_cast<int>(threadIdx.x), group = lane / 4, in_group = lane % 4;
  for (int i = lane; i < 256; i += 32) tile_a[i / 16 * 24 + i % 16] = a[i];
  for (int i = lane; i < 128; i += 32) tile_b[i] = b[i];
  __syncwarp();
  std::uint32_t fa[4], fb[4];
  ptx::ldmatrix_x4(fa, tile_a + lane % 16 * 24 + lane / 16 * 8);
  ptx::ldmatrix_x4_trans(fb, tile_b + lane % 16 * 8);
  float fd[4] = {};
  ptx::mma_m16n8k16(fd, fa, fb[0], fb[1]);
  for (int i = 0; i < 4; ++i) d[(group + 8 * (i / 2)) * 8 + 2 * in_group + i % 2] = fd[i];
}

// Small whole numbers: sums of products of which are exact in every order.
std::vector<bf16> small_numbers(int n, int seed) {
  std::vector<bf16> v;
  for (int i = 0; i < n; ++i) v.emplace_back(static_cast<float>((i * seed + i / 7) % 17 - 8));
  return v;
}

std::vector<float> product(const std::vector<bf16>& a, const std::vector<bf16>& b, float start) {
  std::vector<float> d(16 * 8, start);
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j)
      for (int k = 0; k < 16; ++k)
        d[i * 8 + j] += static_cast<float>(a[i * 16 + k]) * static_cast<float>(b[k * 8 + j]);
  return d;
}

}  // namespace

TEST_CASE("ptx: conversion to bf16 rounds to nearest even") {
  if (!testing::device_answers()) return;
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> x = {0.0f,         -0.0f,         1.0f,   1.00390625f, 1.01171875f,
                          -1.00390625f, 1e30f,         1e-30,  3.4e38f,     infinity,
                          -infinity,    1.0039063f,    6e-41f, 0.1f,        -65504.0f,
                          256.5f,       0.3333333333f, 2.5f,   1e-45f};
  const int n = static_cast<int>(x.size());
  Buffer<float> on_device(x);
  Buffer<std::uint32_t> y(2 * x.size());
  launch(cast, 1, 32, 0, on_device.data(), y.data(), n);
  const std::vector<std::uint32_t> v = y.read();
  for (int i = 0; i < n; ++i) {
    CHECK(v[2 * i] == bf16(x[i]).bits);
    CHECK(v[2 * i + 1] == (std::uint32_t{bf16(x[n - 1 - i]).bits} << 16 | bf16(x[i]).bits));
  }
}

TEST_CASE("ptx: cp.async copies, fills with zeros, and is complete group by group") {
  if (!testing::device_answers()) return;
  std::vector<float> x(128);
  for (int i = 0; i < 128; ++i) x[i] = static_cast<float>(i + 1);
  for (const int hole : {128, 64, 100, 0}) {
    Buffer<float> from(x), to(128);
    launch(copy, 1, 64, 0, from.data(), to.data(), hole);
    const std::vector<float> v = to.read();
    for (int i = 0; i < 128; ++i) CHECK(v[i] == (i / 4 * 4 < hole ? x[i] : 0.0f));
  }
}

TEST_CASE("ptx: ldmatrix gives each lane its elements of four matrices, transposed or not") {
  if (!testing::device_answers()) return;
  std::vector<std::uint16_t> x(256);
  for (int i = 0; i < 256; ++i) x[i] = static_cast<std::uint16_t>(257 * i + 3);
  for (const bool transposed : {false, true}) {
    Buffer<std::uint16_t> from(x);
    Buffer<std::uint32_t> to(128);
    launch(load_matrices, 1, 32, 0, from.data(), to.data(), transposed);
    const std::vector<std::uint32_t> v = to.read();
    for (int lane = 0; lane < 32; ++lane) {
      for (int m = 0; m < 4; ++m) {
        const int row = lane / 4, column = lane % 4 * 2;
        auto at = [&](int r, int c) { return std::uint32_t{x[64 * m + 8 * r + c]}; };
        const std::uint32_t low = transposed ? at(column, row) : at(row, column);
        const std::uint32_t high = transposed ? at(column + 1, row) : at(row, column + 1);
        CHECK(v[4 * lane + m] == (low | high << 16));
      }
    }
  }
}

TEST_CASE("ptx: mma.m16n8k16 adds the product of its fragments' matrices") {
  if (!testing::device_answers()) return;
  const std::vector<bf16> a = small_numbers(256, 5), b = small_numbers(128, 11);
  Buffer<bf16> on_device_a(a), on_device_b(b);
  Buffer<float> d(std::vector<float>(128, 3.0f)), from_shared(128);
  launch(multiply, 1, 32, 0, on_device_a.data(), on_device_b.data(), d.data());
  CHECK(d.read() == product(a, b, 3.0f));
  launch(multiply_from_shared, 1, 32, 0, on_device_a.data(), on_device_b.data(),
         from_shared.data());
  CHECK(from_shared.read() == product(a, b, 0.0f));
}
