// What is queued on the emulated device: operations of streams, and graphs of them.
#pragma once

#include <cuda_runtime.h>

#include <functional>

namespace ito::emulate {

// Every call of CUDA's holds one: threads of the host may call at any time.
struct ApiLock {
  ApiLock();
  ~ApiLock();
  ApiLock(const ApiLock&) = delete;
  ApiLock& operator=(const ApiLock&) = delete;
};

using Operation = std::function<void()>;

// Puts an operation at the end of a stream, or into the graph that the stream records.
cudaError_t submit(cudaStream_t stream, Operation operation);
// Runs what is queued on every stream.
void run_all_streams();
// Calls that allocate or wait are not allowed while a stream records: the capture fails, and the
// caller returns this error.
cudaError_t not_while_recording();
// Keeps the error for cudaGetLastError.
cudaError_t remember(cudaError_t error);

}  // namespace ito::emulate
