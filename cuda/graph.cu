// ito::CudaGraph on the device: CUDA graphs with memory of their own.
#include <atomic>
#include <cstring>

#include "cuda/allocator.h"
#include "cuda/runtime.h"
#include "cuda/staging.h"
#include "tensor/error.h"

namespace ito::cuda {

/// A CUDA graph and what it must keep: the pool of its memory and the bytes it copies from the
/// host.
class RecordedWork {
 public:
  RecordedWork() {
    check(cudaMallocHost(&constants_, constant_bytes), "cudaMallocHost of a graph's constants");
    pool_ = allocator().open();
  }
  ~RecordedWork();
  RecordedWork(const RecordedWork&) = delete;
  RecordedWork& operator=(const RecordedWork&) = delete;

  void run(const std::function<void()>& work);
  void copy_constant(void* destination, const void* source, std::size_t bytes);

 private:
  void record(const std::function<void()>& work);
  cudaGraph_t capture(const std::function<void()>& work);

  static constexpr std::size_t constant_bytes = std::size_t{64} << 10;
  Allocator::Pool* pool_ = nullptr;
  void* constants_ = nullptr;
  std::size_t constants_used_ = 0;
  bool has_run_ = false;
  cudaGraphExec_t exec_ = nullptr;
};

namespace {

std::atomic<RecordedWork*> recorded_now = nullptr;  // the graph being recorded
std::atomic<bool> inside_graph = false;             // in a first run or a recording

// Allocations come from the graph's pool while this lives.
struct UsePool {
  explicit UsePool(Allocator::Pool* pool) {
    inside_graph = true;
    allocator().enter(pool);
  }
  ~UsePool() {
    allocator().leave();
    inside_graph = false;
  }
};

}  // namespace

bool capturing() { return recorded_now != nullptr; }

RecordedWork::~RecordedWork() {
  if (exec_ != nullptr) {
    cudaStreamSynchronize(stream());  // it may be running
    cudaGraphExecDestroy(exec_);
  }
  cudaFreeHost(constants_);
  allocator().close(pool_);
}

void RecordedWork::run(const std::function<void()>& work) {
  if (inside_graph) {
    throw DeviceError("graph: run() inside the work of a graph; graphs do not nest");
  }
  if (!has_run_) {
    const UsePool use(pool_);
    work();
    has_run_ = true;
    return;
  }
  if (exec_ == nullptr) record(work);
  check(cudaGraphLaunch(exec_, stream()), "cudaGraphLaunch");
}

// What the work queues, recorded instead of run. Whatever the work throws, the stream is out of
// capture mode afterwards.
cudaGraph_t RecordedWork::capture(const std::function<void()>& work) {
  cudaGraph_t graph = nullptr;
  constants_used_ = 0;
  check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCapture");
  recorded_now = this;
  try {
    work();
  } catch (...) {
    recorded_now = nullptr;
    if (cudaStreamEndCapture(stream(), &graph) == cudaSuccess) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  recorded_now = nullptr;
  check(cudaStreamEndCapture(stream(), &graph), "cudaStreamEndCapture");
  return graph;
}

void RecordedWork::record(const std::function<void()>& work) {
  const UsePool use(pool_);
  allocator().reserve_second_run(pool_);
  cudaGraph_t graph = capture(work);
  const cudaError_t status = cudaGraphInstantiate(&exec_, graph, 0);
  cudaGraphDestroy(graph);
  if (status != cudaSuccess) exec_ = nullptr;
  check(status, "cudaGraphInstantiate");
  allocator().trim(pool_);
}

void RecordedWork::copy_constant(void* destination, const void* source, std::size_t bytes) {
  if (bytes > constant_bytes - constants_used_) {
    throw DeviceError("cuda: a recorded graph holds " + std::to_string(constant_bytes) +
                      " bytes copied from the host, and repeats them in every run; make larger "
                      "tensors before the graph");
  }
  void* constant = static_cast<char*>(constants_) + constants_used_;
  std::memcpy(constant, source, bytes);
  constants_used_ += (bytes + 15) / 16 * 16;
  check(cudaMemcpyAsync(destination, constant, bytes, cudaMemcpyHostToDevice, stream()),
        "cudaMemcpyAsync of a graph's constant");
}

void record_copy(void* destination, const void* source, std::size_t bytes) {
  recorded_now.load()->copy_constant(destination, source, bytes);
}

std::shared_ptr<RecordedWork> make_graph(int index) {
  require_device(index);
  return std::make_shared<RecordedWork>();
}

void run_graph(RecordedWork& graph, const std::function<void()>& work) { graph.run(work); }

}  // namespace ito::cuda
