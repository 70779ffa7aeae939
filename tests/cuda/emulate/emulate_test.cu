// What the emulated device adds for tests: orders, failures on demand, counts, pieces of memory.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cuda/emulate/emulate.h"
#include "cuda/emulate/pieces.h"
#include "cuda/launch.h"
#include "tests/cuda/buffer.h"

using namespace ito;
using cuda::launch;
using testing::Buffer;

namespace {

__global__ void place(int* order, int* next) {
  order[atomicAdd(next, 1)] = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
}

std::vector<int> order_of_threads(emulate::Order order, std::uint32_t seed = 1) {
  emulate::set_order(order, seed);
  Buffer<int> places(96), next(std::vector<int>{0});
  launch(place, 3, 32, 0, places.data(), next.data());
  const std::vector<int> seen = places.read();
  emulate::set_order(emulate::Order::forward);
  return seen;
}

__global__ void add_one(float* y) { y[threadIdx.x] += 1; }
__global__ void read_shared(float* y) {
  ITO_SHARED(float, tile, [32]);
  ITO_DYNAMIC_SHARED(float, all);
  const unsigned first = 64 * blockIdx.x + threadIdx.x;
  y[first] = tile[threadIdx.x];
  y[first + 32] = all[threadIdx.x];
  tile[threadIdx.x] = all[threadIdx.x] = 0;
}

bool all_nan(const std::vector<float>& v) {
  return std::all_of(v.begin(), v.end(), [](float x) { return std::isnan(x); });
}

}  // namespace

TEST_CASE("emulated device: threads and blocks run forward, reversed, or in an order of a seed") {
  using emulate::Order;
  const std::vector<int> forward = order_of_threads(Order::forward);
  std::vector<int> sorted = forward;
  CHECK(std::is_sorted(forward.begin(), forward.end()));
  std::reverse(sorted.begin(), sorted.end());
  CHECK(order_of_threads(Order::reversed) == sorted);
  const std::vector<int> shuffled = order_of_threads(Order::shuffled, 5);
  CHECK(shuffled != forward);
  CHECK(shuffled == order_of_threads(Order::shuffled, 5));
  CHECK(shuffled != order_of_threads(Order::shuffled, 6));
  CHECK(std::is_permutation(shuffled.begin(), shuffled.end(), forward.begin()));
}

TEST_CASE("emulated device: memory and shared memory hold NaN until something is written") {
  Buffer<float> y(128);
  CHECK(all_nan(y.read()));
  for (int run = 0; run < 2; ++run) {
    launch(read_shared, 2, 32, 128, y.data());
    CHECK(all_nan(y.read()));
  }
}

TEST_CASE("emulated device: allocations and launches fail when a test asks for it") {
  Buffer<float> y(std::vector<float>(8, 0.0f));
  emulate::fail_launch(2, cudaErrorLaunchOutOfResources);
  launch(add_one, 1, 8, 0, y.data());
  CHECK_THROWS(launch(add_one, 1, 8, 0, y.data()));
  launch(add_one, 1, 8, 0, y.data());
  CHECK(y.read() == std::vector<float>(8, 2.0f));

  void* p = nullptr;
  emulate::fail_allocation(1);
  CHECK(cudaMalloc(&p, 64) == cudaErrorMemoryAllocation);
  CHECK(p == nullptr);
  CHECK(cudaPeekAtLastError() == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(cudaMalloc(&p, 64) == cudaSuccess);
  CHECK(cudaFree(p) == cudaSuccess);
}

TEST_CASE("emulated device: memory has a limit and is counted") {
  const emulate::MemoryInUse before = emulate::memory_in_use();
  std::size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  CHECK(free == total - before.bytes);
  emulate::set_memory_size(before.bytes + 1000);
  void *p = nullptr, *q = nullptr;
  CHECK(cudaMalloc(&p, 1001) == cudaErrorMemoryAllocation);
  CHECK(cudaMalloc(&p, 900) == cudaSuccess);
  CHECK(cudaMalloc(&q, 101) == cudaErrorMemoryAllocation);
  CHECK(emulate::memory_in_use().blocks == before.blocks + 1);
  CHECK(cudaFree(p) == cudaSuccess);
  CHECK(cudaFree(p) == cudaErrorInvalidValue);
  CHECK(emulate::memory_in_use().bytes == before.bytes);
  emulate::set_memory_size(total);
  cudaGetLastError();
}

TEST_CASE(
    "emulated device: copies whose direction is wrong, or that leave their block, are errors") {
  std::vector<float> host(64);
  Buffer<float> y(32);
  auto copy = [&](void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, bytes, kind, cuda::stream());
  };
  CHECK(copy(y.data(), host.data(), 128, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(copy(y.data(), host.data(), 132, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(copy(y.data() + 1, host.data(), 128, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(copy(y.data(), host.data(), 128, cudaMemcpyHostToDevice) == cudaSuccess);
  CHECK(cudaMemsetAsync(y.data(), 0, 132, cuda::stream()) == cudaErrorInvalidValue);
  cudaGetLastError();
  cuda::synchronize();
}

TEST_CASE("emulated device: launches of graphs count as kernels, not as launches") {
  Buffer<float> y(std::vector<float>(8, 0.0f));
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  CHECK(cudaStreamBeginCapture(cuda::stream(), cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  for (int i = 0; i < 3; ++i) launch(add_one, 1, 8, 0, y.data());
  CHECK(cudaStreamEndCapture(cuda::stream(), &graph) == cudaSuccess);
  CHECK(cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess);
  const emulate::Counts before = emulate::counts();
  for (int i = 0; i < 2; ++i) CHECK(cudaGraphLaunch(exec, cuda::stream()) == cudaSuccess);
  cuda::synchronize();
  const emulate::Counts after = emulate::counts();
  CHECK(after.launches == before.launches);
  CHECK(after.kernels == before.kernels + 6);
  CHECK(after.allocations == before.allocations);
  CHECK(after.synchronisations == before.synchronisations + 1);
  CHECK(y.read() == std::vector<float>(8, 6.0f));
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
}

TEST_CASE("emulated device: a piece of memory is NaN for its next owner") {
  Buffer<float> y(32);
  emulate::piece_taken(y.data(), 32, cuda::stream());
  CHECK(cudaMemsetAsync(y.data(), 0, 32, cuda::stream()) == cudaSuccess);
  launch(add_one, 1, 8, 0, y.data());
  emulate::piece_freed(y.data(), 32, cuda::stream());
  emulate::piece_taken(y.data(), 128, cuda::stream());
  CHECK(all_nan(y.read()));
}
