// What every .cu file stands on: checked status codes, the stream, scratch memory, facts of the
// device. One process uses one device, the first that CUDA shows (CUDA_VISIBLE_DEVICES chooses).
//
//   Scratch<float> partial(blocks);                       // stream-ordered: no synchronisation
//   launch(sum_partial, grid, block, 0, x, partial.data(), n);
//
// Not for use outside cuda/ and its tests: the library sees kernels through tensor/launch.h.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

struct cublasContext;

namespace ito::cuda {

/// Throws unless `status` is cudaSuccess: MemoryError for cudaErrorMemoryAllocation, DeviceError
/// otherwise, with the operation, the file and line, and CUDA's name and text of the error.
void check(cudaError_t status, const char* operation,
           const std::source_location& where = std::source_location::current());

/// The one stream that all work is queued on.
cudaStream_t stream();
/// Waits until everything queued is done. Throws DeviceError while a graph is being recorded.
void synchronize();

/// Whether a graph is being recorded on the stream (cuda/graph.cu).
bool capturing();

/// Throws DeviceError with the reason when device `index` cannot be used.
void require_device(int index);
/// The line that says why CUDA cannot be used: `status` is what the first call returned,
/// `driver_version` 0 when there is no driver.
std::string explain_unavailable(cudaError_t status, int driver_version, int architecture);

/// Facts of the device that choose a kernel's variant; read once.
struct Properties {
  int multiprocessors;
  int architecture;                     ///< 80 for sm_80, 90 for sm_90
  std::size_t shared_memory_per_block;  ///< largest dynamic shared memory, in bytes
};
const Properties& properties();

/// The handle of cuBLAS, set to stream() and to a workspace of its own.
cublasContext* cublas();
/// Throws DeviceError unless `status` (a cublasStatus_t) is 0.
void check_cublas(int status, const char* operation,
                  const std::source_location& where = std::source_location::current());

/// Device memory from the caching allocator, for the time of a kernel. Freed in stream order: what
/// is queued before may still use it.
void* allocate_scratch(std::size_t bytes);
void release_scratch(void* block, std::size_t bytes) noexcept;

template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t count)
      : bytes_(static_cast<std::size_t>(count) * sizeof(T)),
        data_(static_cast<T*>(allocate_scratch(bytes_))) {}
  ~Scratch() { release_scratch(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() { return data_; }

 private:
  std::size_t bytes_;
  T* data_;
};

}  // namespace ito::cuda
