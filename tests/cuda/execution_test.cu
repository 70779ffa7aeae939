// Shuffles, votes, barriers, atomics, shared memory and indices do what the CUDA C++ Programming
// Guide says: on the emulated device, and on a GPU, which shows that the tests themselves are
// right.
#include <doctest/doctest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "cuda/launch.h"
#include "cuda/reduce.h"
#include "tests/cuda/buffer.h"
#include "tests/devices.h"

using namespace ito;
using cuda::launch;
using testing::Buffer;

namespace {

__global__ void shuffles(int* y, int width) {
  const int lane = static_cast<int>(threadIdx.x);
  y[lane] = __shfl_sync(cuda::full_warp, lane, 5, width);
  y[32 + lane] = __shfl_up_sync(cuda::full_warp, lane, 3, width);
  y[64 + lane] = __shfl_down_sync(cuda::full_warp, lane, 3, width);
  y[96 + lane] = __shfl_xor_sync(cuda::full_warp, lane, 6, width);
}

__global__ void wide_shuffle(double* y) {
  const auto lane = static_cast<int>(threadIdx.x % 32);
  y[threadIdx.x] = __shfl_sync(cuda::full_warp, 1.0 / (1 + threadIdx.x), 31 - lane);
}

__global__ void votes(unsigned* y) {
  const unsigned lane = threadIdx.x;
  y[lane] = __ballot_sync(cuda::full_warp, lane % 3 == 0);
  const int any = __any_sync(cuda::full_warp, lane == 7), none = __any_sync(cuda::full_warp, 0);
  const int all = __all_sync(cuda::full_warp, 1), most = __all_sync(cuda::full_warp, lane != 7);
  y[32 + lane] = static_cast<unsigned>(any != 0) | static_cast<unsigned>(none != 0) << 1 |
                 static_cast<unsigned>(all != 0) << 2 | static_cast<unsigned>(most != 0) << 3;
}

// Halves of a warp meet on their own, a different number of times.
__global__ void halves(int* y) {
  const int lane = static_cast<int>(threadIdx.x);
  int value = lane;
  if (lane < 16) {
    for (int i = 0; i < 3; ++i) value += __shfl_xor_sync(0x0000ffffu, value, 1);
  } else {
    value += __shfl_xor_sync(0xffff0000u, value, 2);
  }
  __syncwarp();
  y[lane] = value + __shfl_sync(cuda::full_warp, value, 0);
}

__global__ void block_votes(int* y) {
  const int i = static_cast<int>(threadIdx.x);
  const int count = __syncthreads_count(i % 3 == 0);
  const int any = __syncthreads_or(i == 70), none = __syncthreads_or(0);
  const int all = __syncthreads_and(1), most = __syncthreads_and(i != 70);
  y[i] = count * 16 + (any != 0) + 2 * (none != 0) + 4 * (all != 0) + 8 * (most != 0);
}

__global__ void atomics(int* i, unsigned* u, unsigned long long* l, float* f, double* d) {
  const int t = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(i, t);
  atomicMax(i + 1, t);
  atomicMin(i + 2, t);
  atomicOr(u, 1u << t % 32);
  atomicAnd(u + 1, ~(1u << t % 7));
  atomicInc(u + 2, 9);
  atomicCAS(u + 3, 0u, 77u);
  atomicAdd(l, 1ull << 33);
  atomicAdd(f, 1.0f);
  atomicAdd(d, 0.5);
  atomicExch(f + 1, 3.0f);
}

__global__ void indices(int* y) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  y[block * blockDim.x * blockDim.y * blockDim.z + thread] =
      static_cast<int>(block * 1000 + thread);
}

__global__ void dynamic_shared(float* y, int n) {
  ITO_DYNAMIC_SHARED(float, all);
  ITO_SHARED(int, offset);
  const int i = static_cast<int>(threadIdx.x);
  if (i == 0) offset = 7;
  for (int k = i; k < n; k += static_cast<int>(blockDim.x)) all[k] = static_cast<float>(k);
  __syncthreads();
  if (i == 0) y[blockIdx.x] = all[n - 1] + static_cast<float>(offset);
}

__global__ void block_sums(float* y, int n) {
  ITO_SHARED(float, scratch, [32]);
  const int i = static_cast<int>(threadIdx.x);
  y[blockIdx.x * blockDim.x + threadIdx.x] =
      cuda::block_reduce(i < n ? static_cast<float>(i) : 0.0f, scratch);
}

}  // namespace

TEST_CASE("execution: shuffles take values from the lanes that the guide names, in segments") {
  if (!testing::device_answers()) return;
  for (const int width : {32, 16, 8}) {
    Buffer<int> y(128);
    launch(shuffles, 1, 32, 0, y.data(), width);
    const std::vector<int> v = y.read();
    for (int lane = 0; lane < 32; ++lane) {
      const int first = lane / width * width, place = lane % width;
      CHECK(v[lane] == first + 5 % width);
      CHECK(v[32 + lane] == (place >= 3 ? lane - 3 : lane));
      CHECK(v[64 + lane] == (place + 3 < width ? lane + 3 : lane));
      CHECK(v[96 + lane] == (lane ^ 6));
    }
  }
  Buffer<double> y(64);
  launch(wide_shuffle, 1, 64, 0, y.data());
  const std::vector<double> v = y.read();
  for (int i = 0; i < 64; ++i) CHECK(v[i] == 1.0 / (1 + i / 32 * 32 + 31 - i % 32));
}

TEST_CASE("execution: votes of a warp") {
  if (!testing::device_answers()) return;
  Buffer<unsigned> y(64);
  launch(votes, 1, 32, 0, y.data());
  const std::vector<unsigned> v = y.read();
  for (int lane = 0; lane < 32; ++lane) {
    CHECK(v[lane] == 0x49249249u);
    CHECK(v[32 + lane] == 5u);
  }
}

TEST_CASE("execution: parts of a warp meet under their own masks") {
  if (!testing::device_answers()) return;
  Buffer<int> y(32);
  launch(halves, 1, 32, 0, y.data());
  const std::vector<int> v = y.read();
  for (int lane = 0; lane < 32; ++lane) {
    // Three rounds of adding the neighbour's value: the pair's sum, four times.
    const int own = lane < 16 ? 4 * (lane + (lane ^ 1)) : lane + (lane ^ 2);
    CHECK(v[lane] == own + 4);
  }
}

TEST_CASE("execution: barriers that count") {
  if (!testing::device_answers()) return;
  for (const unsigned threads : {96u, 71u, 100u}) {
    Buffer<int> y(threads);
    launch(block_votes, 1, threads, 0, y.data());
    const int count = static_cast<int>(threads + 2) / 3;
    for (const int v : y.read()) CHECK(v == count * 16 + 1 + 4);
  }
}

TEST_CASE("execution: atomics lose nothing") {
  if (!testing::device_answers()) return;
  Buffer<int> i(std::vector<int>{0, -1, 1 << 20});
  Buffer<unsigned> u(std::vector<unsigned>{0, ~0u, 0, 0});
  Buffer<unsigned long long> l(std::vector<unsigned long long>{0});
  Buffer<float> f(std::vector<float>{0, 0});
  Buffer<double> d(std::vector<double>{0});
  launch(atomics, 3, 70, 0, i.data(), u.data(), l.data(), f.data(), d.data());
  CHECK(i.read() == std::vector<int>{210 * 209 / 2, 209, 0});
  CHECK(u.read() == std::vector<unsigned>{~0u, ~0x7fu, 210 % 10, 77});
  CHECK(l.read()[0] == 210ull << 33);
  CHECK(f.read() == std::vector<float>{210, 3});
  CHECK(d.read()[0] == 105.0);
}

TEST_CASE("execution: indices of three-dimensional grids and blocks") {
  if (!testing::device_answers()) return;
  Buffer<int> y(2 * 3 * 4 * 5 * 6 * 2);
  launch(indices, dim3(2, 3, 4), dim3(5, 6, 2), 0, y.data());
  const std::vector<int> v = y.read();
  for (int k = 0; k < static_cast<int>(v.size()); ++k) CHECK(v[k] == k / 60 * 1000 + k % 60);
}

TEST_CASE("execution: dynamic shared memory, beyond 48 KiB too") {
  if (!testing::device_answers()) return;
  for (const int n : {1, 1000, 12 * 1024 - 16, 24 * 1024 - 16}) {
    Buffer<float> y(3);
    launch(dynamic_shared, 3, 64, static_cast<std::size_t>(n) * sizeof(float), y.data(), n);
    for (const float v : y.read()) CHECK(v == static_cast<float>(n + 6));
  }
}

TEST_CASE("execution: sums of a block, in all its threads") {
  if (!testing::device_answers()) return;
  for (const unsigned threads : {32u, 64u, 256u, 1024u}) {
    Buffer<float> y(2 * threads);
    launch(block_sums, 2, threads, 0, y.data(), 30);
    for (const float v : y.read()) CHECK(v == 30 * 29 / 2);
  }
}
