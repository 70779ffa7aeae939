// Errors, facts of the device, launches.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <utility>

#include "cuda/emulate/block.h"
#include "cuda/emulate/settings.h"
#include "cuda/emulate/stream.h"

namespace ito::emulate {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

// The largest dynamic shared memory, for kernels that asked for more than the default.
std::map<const void*, std::size_t>& dynamic_limits() {
  static auto& limits = *new std::map<const void*, std::size_t>;
  return limits;
}

}  // namespace

cudaError_t remember(cudaError_t error) { return last_error = error; }

cudaError_t launch(const cudaLaunchConfig_t& config, Kernel kernel) {
  const ApiLock lock;
  const dim3 g = config.gridDim, b = config.blockDim;
  ++counters().launches;
  if (int error = 0; launch_must_fail(&error)) return remember(static_cast<cudaError_t>(error));
  if (b.x == 0 || b.y == 0 || b.z == 0 || b.x > 1024 || b.y > 1024 || b.z > 64 ||
      std::size_t{b.x} * b.y * b.z > max_threads)
    return remember(cudaErrorInvalidConfiguration);
  if (g.x == 0 || g.y == 0 || g.z == 0 || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535)
    return remember(cudaErrorInvalidConfiguration);
  const auto raised = dynamic_limits().find(kernel.function);
  Grid grid;
  grid.grid = g;
  grid.block = b;
  grid.dynamic_shared = config.dynamicSmemBytes;
  grid.shared_limit = model().shared_default;
  if (raised != dynamic_limits().end()) grid.shared_limit = model().shared_opt_in;
  const std::size_t dynamic_limit =
      raised != dynamic_limits().end() ? raised->second : model().shared_default;
  if (config.dynamicSmemBytes > dynamic_limit) return remember(cudaErrorInvalidValue);
  return submit(config.stream, [grid, thread = std::move(kernel.thread)]() mutable {
    ++counters().kernels;
    grid.thread = &thread;
    run_grid(grid);
  });
}

}  // namespace ito::emulate

using namespace ito::emulate;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define ITO_NAME(name) \
  case name:           \
    return #name
    ITO_NAME(cudaSuccess);
    ITO_NAME(cudaErrorInvalidValue);
    ITO_NAME(cudaErrorMemoryAllocation);
    ITO_NAME(cudaErrorInitializationError);
    ITO_NAME(cudaErrorInvalidConfiguration);
    ITO_NAME(cudaErrorInsufficientDriver);
    ITO_NAME(cudaErrorInvalidDeviceFunction);
    ITO_NAME(cudaErrorNoDevice);
    ITO_NAME(cudaErrorInvalidDevice);
    ITO_NAME(cudaErrorNoKernelImageForDevice);
    ITO_NAME(cudaErrorUnsupportedPtxVersion);
    ITO_NAME(cudaErrorInvalidResourceHandle);
    ITO_NAME(cudaErrorNotReady);
    ITO_NAME(cudaErrorIllegalAddress);
    ITO_NAME(cudaErrorLaunchOutOfResources);
    ITO_NAME(cudaErrorMisalignedAddress);
    ITO_NAME(cudaErrorLaunchFailure);
    ITO_NAME(cudaErrorNotSupported);
    ITO_NAME(cudaErrorStreamCaptureUnsupported);
    ITO_NAME(cudaErrorStreamCaptureInvalidated);
    ITO_NAME(cudaErrorStreamCaptureUnmatched);
    ITO_NAME(cudaErrorStreamCaptureImplicit);
    ITO_NAME(cudaErrorUnknown);
#undef ITO_NAME
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorNoKernelImageForDevice:
      return "no kernel image is available for execution on the device";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    default:
      return cudaGetErrorName(error);
  }
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  if (model().error != 0) return remember(static_cast<cudaError_t>(model().error));
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : remember(cudaErrorInvalidDevice);
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = model().error == cudaErrorInsufficientDriver ? 0 : 13000;  // 0: there is none
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device != 0) return remember(cudaErrorInvalidDevice);
  *p = {};
  std::snprintf(p->name, sizeof(p->name), "emulated device");
  std::size_t free = 0;
  cudaMemGetInfo(&free, &p->totalGlobalMem);
  p->sharedMemPerBlock = model().shared_default;
  p->sharedMemPerBlockOptin = model().shared_opt_in;
  p->major = model().architecture / 10;
  p->minor = model().architecture % 10;
  p->multiProcessorCount = model().multiprocessors;
  p->maxThreadsPerBlock = max_threads;
  p->warpSize = warp_lanes;
  p->l2CacheSize = 1 << 20;
  p->memoryBusWidth = 64;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return remember(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = max_threads;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(model().shared_default);
      return cudaSuccess;
    case cudaDevAttrWarpSize:
      *value = warp_lanes;
      return cudaSuccess;
    case cudaDevAttrClockRate:
    case cudaDevAttrMemoryClockRate:
      *value = 1000000;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = model().multiprocessors;
      return cudaSuccess;
    case cudaDevAttrGlobalMemoryBusWidth:
      *value = 64;
      return cudaSuccess;
    case cudaDevAttrL2CacheSize:
      *value = 1 << 20;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = model().architecture / 10;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = model().architecture % 10;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(model().shared_opt_in);
      return cudaSuccess;
  }
  return remember(cudaErrorInvalidValue);
}
cudaError_t cudaDeviceReset() {
  run_all_streams();
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  const ApiLock lock;
  *attributes = {};
  const auto raised = dynamic_limits().find(kernel);
  attributes->maxThreadsPerBlock = max_threads;
  attributes->ptxVersion = attributes->binaryVersion = model().architecture;
  attributes->maxDynamicSharedSizeBytes =
      static_cast<int>(raised == dynamic_limits().end() ? model().shared_default : raised->second);
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  const ApiLock lock;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<std::size_t>(value) > model().shared_opt_in)
    return remember(cudaErrorInvalidValue);
  dynamic_limits()[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}
