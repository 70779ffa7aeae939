// Streams, events and graphs of the CUDA runtime, as the backend relies on them; on the emulated
// device and on a GPU.
#include <doctest/doctest.h>

#include <vector>

#include "cuda/launch.h"
#include "tests/cuda/buffer.h"
#include "tests/devices.h"

using namespace ito;
using cuda::launch;
using testing::Buffer;

namespace {

__global__ void add(float* y, float amount) { y[threadIdx.x] += amount; }
__global__ void add_from(float* y, const float* amount) { y[threadIdx.x] += *amount; }

void check(cudaError_t status) { CHECK(status == cudaSuccess); }

// The graph of what f queues.
template <class F>
cudaGraphExec_t record(F f) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  check(cudaStreamBeginCapture(cuda::stream(), cudaStreamCaptureModeThreadLocal));
  f();
  check(cudaStreamEndCapture(cuda::stream(), &graph));
  check(cudaGraphInstantiate(&exec, graph, 0));
  check(cudaGraphDestroy(graph));
  return exec;
}

}  // namespace

TEST_CASE("streams: work runs in the order in which it was queued") {
  if (!testing::device_answers()) return;
  Buffer<float> y(8);
  check(cudaMemsetAsync(y.data(), 0, 32, cuda::stream()));
  launch(add, 1, 8, 0, y.data(), 1.0f);
  launch(add, 1, 8, 0, y.data(), 2.0f);
  CHECK(y.read() == std::vector<float>(8, 3.0f));
}

TEST_CASE("streams: an event orders two of them") {
  if (!testing::device_answers()) return;
  cudaStream_t other = nullptr;
  cudaEvent_t event = nullptr;
  check(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  Buffer<float> x(std::vector<float>(8, 1.0f)), y(8);
  launch(add, 1, 8, 0, x.data(), 4.0f);
  check(cudaEventRecord(event, cuda::stream()));
  check(cudaStreamWaitEvent(other, event, 0));
  check(cudaMemcpyAsync(y.data(), x.data(), 32, cudaMemcpyDeviceToDevice, other));
  check(cudaStreamSynchronize(other));
  check(cudaEventQuery(event));
  CHECK(y.read() == std::vector<float>(8, 5.0f));
  check(cudaEventDestroy(event));
  check(cudaStreamDestroy(other));
}

TEST_CASE("streams: the time between events") {
  if (!testing::device_answers()) return;
  cudaEvent_t start = nullptr, end = nullptr;
  check(cudaEventCreate(&start));
  check(cudaEventCreate(&end));
  Buffer<float> y(std::vector<float>(8, 1.0f));
  check(cudaEventRecord(start, cuda::stream()));
  launch(add, 1, 8, 0, y.data(), 4.0f);
  check(cudaEventRecord(end, cuda::stream()));
  check(cudaEventSynchronize(end));
  float milliseconds = -1;
  check(cudaEventElapsedTime(&milliseconds, start, end));
  CHECK(milliseconds >= 0);
  check(cudaEventDestroy(start));
  check(cudaEventDestroy(end));
}

TEST_CASE("graphs: recording runs nothing; values are frozen, memory is read anew") {
  if (!testing::device_answers()) return;
  Buffer<float> y(std::vector<float>(8, 0.0f)), amount(std::vector<float>{10});
  float by_value = 1;
  const cudaGraphExec_t exec = record([&] {
    launch(add, 1, 8, 0, y.data(), by_value);
    launch(add_from, 1, 8, 0, y.data(), amount.data());
  });
  CHECK(y.read() == std::vector<float>(8, 0.0f));
  by_value = 1000;
  check(cudaGraphLaunch(exec, cuda::stream()));
  CHECK(y.read() == std::vector<float>(8, 11.0f));
  launch(add, 1, 1, 0, amount.data(), 10.0f);
  check(cudaGraphLaunch(exec, cuda::stream()));
  check(cudaGraphLaunch(exec, cuda::stream()));
  CHECK(y.read() == std::vector<float>(8, 53.0f));
  check(cudaGraphExecDestroy(exec));
}

TEST_CASE("graphs: waiting and allocating end a recording with CUDA's errors") {
  if (!testing::device_answers()) return;
  const std::vector<cudaError_t (*)()> forbidden = {
      [] { return cudaStreamSynchronize(cuda::stream()); },
      [] {
        void* p = nullptr;
        return cudaMalloc(&p, 64);
      },
  };
  for (auto* call : forbidden) {
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(cuda::stream(), cudaStreamCaptureModeThreadLocal));
    CHECK(call() == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaStreamEndCapture(cuda::stream(), &graph) == cudaErrorStreamCaptureInvalidated);
    CHECK(graph == nullptr);
    cudaGetLastError();
  }
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(cuda::stream(), &graph) != cudaSuccess);
  cudaGetLastError();
  check(cudaStreamSynchronize(cuda::stream()));
}

TEST_CASE("launch: what a device refuses is an error") {
  if (!testing::device_answers()) return;
  Buffer<float> y(8);
  CHECK_THROWS_AS(launch(add, 1, 1025, 0, y.data(), 1.0f), std::exception);
  CHECK_THROWS_AS(launch(add, dim3(1, 65536), 8, 0, y.data(), 1.0f), std::exception);
  CHECK_THROWS_AS(launch(add, dim3(1, 1, 65536), 8, 0, y.data(), 1.0f), std::exception);
  CHECK_THROWS_AS(launch(add, 1, dim3(1, 1, 65), 0, y.data(), 1.0f), std::exception);
  const std::size_t most = cuda::properties().shared_memory_per_block;
  CHECK_THROWS_AS(launch(add, 1, 8, most + 1, y.data(), 1.0f), std::exception);
  CHECK_NOTHROW(launch(add, 1, 8, most, y.data(), 1.0f));
  CHECK_NOTHROW(launch(add, dim3(1, 0), 8, 0, y.data(), 1.0f));  // nothing to do
  cuda::synchronize();
}
