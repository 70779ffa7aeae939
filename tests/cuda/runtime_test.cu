#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cuda/emulate/emulate.h"
#include "cuda/launch.h"
#include "cuda/runtime.h"
#include "cuda/staging.h"
#include "tensor/error.h"
#include "tensor/kernels/device_runtime.h"
#include "tests/devices.h"

using namespace ito;

namespace {

__global__ void count_up(std::int64_t* y, std::int64_t n) {
  for (std::int64_t i : cuda::grid_stride(n)) y[i] = i;
}
__global__ void add_one(const std::int64_t* x, std::int64_t* y, std::int64_t n) {
  for (std::int64_t i : cuda::grid_stride(n)) y[i] = x[i] + 1;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string message_of(cudaError_t status) {
  try {
    cuda::check(status, "cudaThing");
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

}  // namespace

TEST_CASE("check: says operation, file and line, and CUDA's name and text of the error") {
  CHECK(message_of(cudaSuccess).empty());
  const std::string text = message_of(cudaErrorInvalidValue);
  CHECK(contains(text, "cuda: cudaThing failed at cuda/runtime_test.cu:"));
  CHECK(contains(text, "cudaErrorInvalidValue (error 1, "));
  CHECK(contains(text, cudaGetErrorString(cudaErrorInvalidValue)));
  CHECK_THROWS_AS(cuda::check(cudaErrorInvalidValue, ""), DeviceError);
  CHECK_THROWS_AS(cuda::check(cudaErrorMemoryAllocation, ""), MemoryError);
  CHECK_NOTHROW(cuda::check_cublas(0, ""));
  CHECK_THROWS_AS(cuda::check_cublas(7, "cublasThing"), DeviceError);
}

TEST_CASE("explain_unavailable: one clear line for each way in which a GPU can be missing") {
  using cuda::explain_unavailable;
  CHECK(contains(explain_unavailable(cudaErrorInsufficientDriver, 0, 0),
                 "no NVIDIA driver on this machine"));
  CHECK(contains(explain_unavailable(cudaErrorInsufficientDriver, 11040, 0),
                 "too old: it serves CUDA 11.4, this build needs "));
  CHECK(contains(explain_unavailable(cudaErrorNoDevice, 13000, 0), "no GPU"));
  CHECK(contains(explain_unavailable(cudaErrorNoKernelImageForDevice, 13000, 75),
                 "no kernels for a GPU of sm_75"));
  CHECK(contains(explain_unavailable(cudaErrorUnknown, 13000, 90), "does not answer"));
  for (const cudaError_t status : {cudaErrorInsufficientDriver, cudaErrorNoDevice,
                                   cudaErrorNoKernelImageForDevice, cudaErrorUnknown}) {
    const std::string text = explain_unavailable(status, 12020, 90);
    CHECK(contains(text, "(error " + std::to_string(static_cast<int>(status)) + ", "));
    CHECK_FALSE(contains(text, "\n"));
  }
}

TEST_CASE("properties: those of a device that can run the kernels") {
  if (!testing::device_answers()) return;
  CHECK(cuda::properties().multiprocessors > 0);
  CHECK(cuda::properties().architecture >= 80);
  CHECK(cuda::properties().shared_memory_per_block >= 48 * 1024);
}

TEST_CASE("Scratch: may be released while kernels that use it are queued") {
  if (!testing::device_answers()) return;
  constexpr std::int64_t n = 1000;
  const std::size_t before = cuda::memory_usage(0).current;
  cuda::Scratch<std::int64_t> result(n);
  for (int round = 0; round < 3; ++round) {
    {
      cuda::Scratch<std::int64_t> x(n);
      CHECK(cuda::memory_usage(0).current == before + 2 * n * sizeof(std::int64_t));
      cuda::launch(count_up, cuda::blocks_for(n, 128), 128, 0, x.data(), n);
      cuda::launch(add_one, cuda::blocks_for(n, 128), 128, 0, x.data(), result.data(), n);
    }
    std::vector<std::int64_t> values(n);
    cuda::copy_to_host(0, values.data(), result.data(), n * sizeof(std::int64_t));
    for (std::int64_t i = 0; i < n; ++i) CHECK(values[static_cast<std::size_t>(i)] == i + 1);
  }
}

TEST_CASE("Staging: a small ring carries copies of any size in order") {
  if (!testing::device_answers()) return;
  cuda::Staging ring(1000);
  cuda::Scratch<std::uint8_t> there(5000);
  std::vector<std::uint8_t> wanted(5000, 0), got(5000);
  cuda::copy_to_device(0, there.data(), wanted.data(), wanted.size());
  std::size_t at = 0;
  for (int i = 0; i < 200; ++i) {
    const std::size_t bytes = (i * 37) % 1700;  // some larger than the ring
    at = (at + 611) % (5000 - 1700);
    std::vector<std::uint8_t> source(bytes, static_cast<std::uint8_t>(i));
    ring.copy(there.data() + at, source.data(), bytes);
    std::copy(source.begin(), source.end(), wanted.begin() + static_cast<std::ptrdiff_t>(at));
    source.assign(bytes, 0xee);  // the copy has its own
  }
  cuda::copy_to_host(0, got.data(), there.data(), got.size());
  CHECK(got == wanted);
}

TEST_CASE("launch: an empty grid is nothing, an impossible one an error with CUDA's reason") {
  if (!testing::device_answers()) return;
  cuda::Scratch<std::int64_t> y(1);
  cuda::launch(count_up, 0, 128, 0, y.data(), std::int64_t{0});
  std::string text;
  try {
    cuda::launch(count_up, 1, 2048, 0, y.data(), std::int64_t{1});
  } catch (const DeviceError& e) {
    text = e.what();
  }
  CHECK(contains(text, "launch of a kernel failed at cuda/runtime_test.cu:"));
  cuda::launch(count_up, 1, 32, 0, y.data(), std::int64_t{1});  // the next one works
  std::int64_t value = -1;
  cuda::copy_to_host(0, &value, y.data(), sizeof value);
  CHECK(value == 0);
}

TEST_CASE(
    "CudaGraph: a launch that fails while it is recorded is reported, and the next run works") {
  if (!testing::device_answers()) return;
  if constexpr (build::emulated) {
    constexpr std::int64_t n = 100;
    cuda::Scratch<std::int64_t> x(n), y(n);
    const auto graph = cuda::make_graph(0);
    const std::function<void()> work = [&] {
      cuda::launch(count_up, 1, 128, 0, x.data(), n);
      cuda::launch(add_one, 1, 128, 0, x.data(), y.data(), n);
    };
    cuda::run_graph(*graph, work);
    for (const int failing : {1, 2}) {
      emulate::fail_launch(failing, cudaErrorLaunchOutOfResources);
      CHECK_THROWS_AS(cuda::run_graph(*graph, work), DeviceError);
      CHECK_FALSE(cuda::capturing());
    }
    for (int run = 0; run < 3; ++run) cuda::run_graph(*graph, work);
    std::vector<std::int64_t> values(n);
    cuda::copy_to_host(0, values.data(), y.data(), n * sizeof(std::int64_t));
    CHECK(values[99] == 100);
  }
}
