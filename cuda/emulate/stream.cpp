// Streams, events and graphs: work is queued and runs when the host waits for it.
#include "cuda/emulate/stream.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda/emulate/memory.h"
#include "cuda/emulate/settings.h"

struct CUgraph_st {
  std::vector<ito::emulate::Operation> operations;
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<ito::emulate::Operation>> operations;
};
struct CUevent_st {
  bool recorded = false;
  cudaStream_t stream = nullptr;
  std::uint64_t ticket = 0;  // of its stream: done when the stream has come so far
  std::shared_ptr<std::chrono::steady_clock::time_point> when;
};
struct CUstream_st {
  std::deque<ito::emulate::Operation> queue;
  std::uint64_t submitted = 0, done = 0;
  std::unique_ptr<CUgraph_st> recording;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
};

namespace ito::emulate {
namespace {

std::vector<CUstream_st*>& streams() {
  static auto& all = *new std::vector<CUstream_st*>{new CUstream_st};  // [0]: the default stream
  return all;
}

// Null if there is no such stream.
CUstream_st* find(cudaStream_t stream) {
  if (!stream) return streams().front();
  for (CUstream_st* s : streams())
    if (s == stream) return s;
  return nullptr;
}

void run(CUstream_st& s, std::uint64_t until) {
  if (s.done >= until) return;
  const DeviceMemoryOpen open;
  while (s.done < until) {
    Operation next = std::move(s.queue.front());
    s.queue.pop_front();
    ++s.done;
    next();
  }
}

std::recursive_mutex& api_mutex() {
  static auto& mutex = *new std::recursive_mutex;
  return mutex;
}

void fail_capture(CUstream_st& s) {
  s.capture = cudaStreamCaptureStatusInvalidated;
  s.recording.reset();
}

}  // namespace

ApiLock::ApiLock() { api_mutex().lock(); }
ApiLock::~ApiLock() { api_mutex().unlock(); }

cudaError_t submit(cudaStream_t stream, Operation operation) {
  const ApiLock lock;
  CUstream_st* s = find(stream);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (s->capture == cudaStreamCaptureStatusInvalidated)
    return remember(cudaErrorStreamCaptureInvalidated);
  if (s->capture == cudaStreamCaptureStatusActive) {
    s->recording->operations.push_back(std::move(operation));
    return cudaSuccess;
  }
  s->queue.push_back(std::move(operation));
  ++s->submitted;
  if (model().blocking) run(*s, s->submitted);
  return cudaSuccess;
}

void run_all_streams() {
  for (CUstream_st* s : streams()) run(*s, s->submitted);
}

cudaError_t not_while_recording() {
  for (CUstream_st* s : streams()) {
    if (s->capture == cudaStreamCaptureStatusActive && s->mode != cudaStreamCaptureModeRelaxed) {
      fail_capture(*s);
      return remember(cudaErrorStreamCaptureUnsupported);
    }
  }
  return cudaSuccess;
}

}  // namespace ito::emulate

using namespace ito::emulate;

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  const ApiLock lock;
  *stream = new CUstream_st;
  streams().push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return cudaStreamCreate(stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const ApiLock lock;
  CUstream_st* s = stream ? find(stream) : nullptr;
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  run(*s, s->submitted);
  std::erase(streams(), s);
  delete s;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const ApiLock lock;
  CUstream_st* s = find(stream);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (const cudaError_t e = not_while_recording()) return e;
  ++counters().synchronisations;
  run(*s, s->submitted);
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const ApiLock lock;
  CUstream_st* s = find(stream);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (const cudaError_t e = not_while_recording()) return e;
  return s->done == s->submitted ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaDeviceSynchronize() {
  const ApiLock lock;
  if (const cudaError_t e = not_while_recording()) return e;
  ++counters().synchronisations;
  run_all_streams();
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return cudaEventCreate(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const ApiLock lock;
  event->when = std::make_shared<std::chrono::steady_clock::time_point>();
  const cudaError_t e =
      submit(stream, [when = event->when] { *when = std::chrono::steady_clock::now(); });
  if (e != cudaSuccess) return e;
  // One that a graph records cannot be asked.
  event->recorded = find(stream)->capture == cudaStreamCaptureStatusNone;
  event->stream = stream;
  event->ticket = find(stream)->submitted;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const ApiLock lock;
  if (const cudaError_t e = not_while_recording()) return e;
  ++counters().synchronisations;
  CUstream_st* s = event->recorded ? find(event->stream) : nullptr;
  if (s) run(*s, event->ticket);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const ApiLock lock;
  CUstream_st* s = event->recorded ? find(event->stream) : nullptr;
  return !s || s->done >= event->ticket ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const ApiLock lock;
  if (!event->recorded) return cudaSuccess;
  return submit(stream, [from = event->stream, ticket = event->ticket] {
    if (CUstream_st* s = find(from)) run(*s, ticket);
  });
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const ApiLock lock;
  if (!start->recorded || !end->recorded) return remember(cudaErrorInvalidResourceHandle);
  if (cudaEventQuery(start) != cudaSuccess || cudaEventQuery(end) != cudaSuccess)
    return remember(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(*end->when - *start->when).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const ApiLock lock;
  CUstream_st* s = find(stream);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (!stream) return remember(cudaErrorStreamCaptureUnsupported);  // the legacy default stream
  if (s->capture != cudaStreamCaptureStatusNone) return remember(cudaErrorInvalidValue);
  s->recording = std::make_unique<CUgraph_st>();
  s->capture = cudaStreamCaptureStatusActive;
  s->mode = mode;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const ApiLock lock;
  CUstream_st* s = find(stream);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  *graph = nullptr;
  switch (std::exchange(s->capture, cudaStreamCaptureStatusNone)) {
    case cudaStreamCaptureStatusNone:
      return remember(cudaErrorStreamCaptureUnmatched);
    case cudaStreamCaptureStatusInvalidated:
      return remember(cudaErrorStreamCaptureInvalidated);
    case cudaStreamCaptureStatusActive:
      break;
  }
  *graph = s->recording.release();
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const ApiLock lock;
  CUstream_st* s = find(stream);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  *status = s->capture;
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, std::size_t* count) {
  const ApiLock lock;
  *count = graph->operations.size();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  const ApiLock lock;
  *exec = new CUgraphExec_st{std::make_shared<const std::vector<Operation>>(graph->operations)};
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* exec, cudaGraph_t graph,
                                          unsigned long long flags) {
  return cudaGraphInstantiate(exec, graph, flags);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const ApiLock lock;
  return submit(stream, [operations = exec->operations] {
    for (const Operation& operation : *operations) operation();
  });
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
