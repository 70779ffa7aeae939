#include <cublas_v2.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "cuda/runtime.h"
#include "tensor/error.h"
#include "tensor/kernels/device_runtime.h"

namespace ito::cuda {
namespace {

// What a build and a GPU have in common is asked by the attributes of this kernel.
__global__ void probe() {}

// From the repository's root on: where it was built is nobody's business.
std::string place(const std::source_location& where) {
  std::string file = where.file_name();
  if (const auto at = file.rfind("/cuda/"); at != std::string::npos) file.erase(0, at + 1);
  return file + ":" + std::to_string(where.line());
}

std::string named(cudaError_t status) {
  return std::string(cudaGetErrorName(status)) + " (error " +
         std::to_string(static_cast<int>(status)) + ", " + cudaGetErrorString(status) + ")";
}

std::string version(int v) {
  return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10);
}

int attribute(cudaDeviceAttr which) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, 0), "cudaDeviceGetAttribute");
  return value;
}

// The first failure of what a device must be able to do.
cudaError_t probe_device() {
  int devices = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&devices); status != cudaSuccess) return status;
  if (devices == 0) return cudaErrorNoDevice;
  if (const cudaError_t status = cudaSetDevice(0); status != cudaSuccess) return status;
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(probe));
}

std::string find_out() {
  const cudaError_t status = probe_device();
  if (status == cudaSuccess) return {};
  cudaGetLastError();  // not the next call's failure
  int driver = 0, major = 0, minor = 0;
  cudaDriverGetVersion(&driver);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
  cudaGetLastError();
  return explain_unavailable(status, driver, 10 * major + minor);
}

}  // namespace

std::string explain_unavailable(cudaError_t status, int driver_version, int architecture) {
  const std::string reason = "; " + named(status);
  switch (status) {
    case cudaErrorInsufficientDriver:
      if (driver_version == 0) return "cuda: no NVIDIA driver on this machine" + reason;
      return "cuda: the NVIDIA driver is too old: it serves CUDA " + version(driver_version) +
             ", this build needs " + version(CUDART_VERSION) + reason;
    case cudaErrorNoDevice: {
      const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
      if (visible == nullptr) return "cuda: no GPU on this machine" + reason;
      return "cuda: no GPU among those of CUDA_VISIBLE_DEVICES=" + std::string(visible) + reason;
    }
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return "cuda: this build has no kernels for a GPU of sm_" + std::to_string(architecture) +
             "; build with that architecture in CMAKE_CUDA_ARCHITECTURES (80 is the least)" +
             reason;
    default:
      return "cuda: the GPU does not answer" + reason;
  }
}

std::string why_unavailable(int index) {
  static const std::string* reason = new std::string(find_out());
  if (!reason->empty() || index == 0) return *reason;
  return "cuda:" + std::to_string(index) +
         ": a process uses one GPU, cuda:0; the environment variable CUDA_VISIBLE_DEVICES=" +
         std::to_string(index) + " makes that one cuda:0";
}

void require_device(int index) {
  if (std::string reason = why_unavailable(index); !reason.empty()) throw DeviceError(reason);
}

void check(cudaError_t status, const char* operation, const std::source_location& where) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error that is reported is not also the next call's
  const std::string text =
      "cuda: " + std::string(operation) + " failed at " + place(where) + ": " + named(status);
  if (status == cudaErrorMemoryAllocation) throw MemoryError(text);
  throw DeviceError(text);
}

cudaStream_t stream() {
  // Never destroyed: tensors with static lifetime may still be freed.
  static const cudaStream_t one = [] {
    require_device(0);
    cudaStream_t made = nullptr;
    check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return made;
  }();
  return one;
}

void synchronize() {
  if (capturing()) {
    throw DeviceError(
        "cuda: the host cannot wait for the device while a graph is recorded: nothing runs yet");
  }
  check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
}

const Properties& properties() {
  static const Properties facts = [] {
    require_device(0);
    return Properties{
        attribute(cudaDevAttrMultiProcessorCount),
        10 * attribute(cudaDevAttrComputeCapabilityMajor) +
            attribute(cudaDevAttrComputeCapabilityMinor),
        static_cast<std::size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)),
    };
  }();
  return facts;
}

void check_cublas(int status, const char* operation, const std::source_location& where) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const auto code = static_cast<cublasStatus_t>(status);
  throw DeviceError("cublas: " + std::string(operation) + " failed at " + place(where) + ": " +
                    cublasGetStatusName(code) + " (error " + std::to_string(status) + ")");
}

cublasContext* cublas() {
  // A workspace of its own keeps cuBLAS from allocating while a graph is recorded, and its results
  // the same from run to run. 32 MiB is what NVIDIA recommends for sm_90.
  static const cublasHandle_t handle = [] {
    constexpr std::size_t workspace_bytes = std::size_t{32} << 20;
    require_device(0);
    cublasHandle_t created = nullptr;
    check_cublas(cublasCreate(&created), "cublasCreate");
    // Given back when something below fails; a later call tries again.
    const auto destroy = [](cublasHandle_t h) { cublasDestroy(h); };
    std::unique_ptr<cublasContext, decltype(destroy)> owned(created, destroy);
    const cublasHandle_t made = owned.get();
    check_cublas(cublasSetStream(made, stream()), "cublasSetStream");
    void* allocated = nullptr;
    check(cudaMalloc(&allocated, workspace_bytes), "cudaMalloc of the workspace of cuBLAS");
    const auto release = [](void* p) { cudaFree(p); };
    std::unique_ptr<void, decltype(release)> workspace(allocated, release);
    check_cublas(cublasSetWorkspace(made, allocated, workspace_bytes), "cublasSetWorkspace");
    // f32 stays f32 (no TF32), and partial sums of bf16 products are added in f32.
    constexpr auto mode = static_cast<cublasMath_t>(
        CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
    check_cublas(cublasSetMathMode(made, mode), "cublasSetMathMode");
    workspace.release();
    return owned.release();
  }();
  return handle;
}

}  // namespace ito::cuda
