#include "tensor/cuda_graph.h"

#include <utility>

#include "tensor/build.h"
#include "tensor/error.h"
#include "tensor/kernels/device_runtime.h"

namespace ito {

struct CudaGraph::Impl {
  std::function<void()> work;
  std::shared_ptr<cuda::RecordedWork> recorded;  // null: run() calls the work
};

CudaGraph::CudaGraph(Device device, std::function<void()> work, bool enabled)
    : impl_(std::make_unique<Impl>()) {
  if (!available(device)) throw DeviceError(why_unavailable(device));
  impl_->work = std::move(work);
  if constexpr (build::cuda) {
    if (device.is_cuda() && enabled) impl_->recorded = cuda::make_graph(device.index());
  }
}

CudaGraph::~CudaGraph() = default;

void CudaGraph::run() {
  if constexpr (build::cuda) {
    if (impl_->recorded) return cuda::run_graph(*impl_->recorded, impl_->work);
  }
  impl_->work();
}

bool capturing() {
  if constexpr (build::cuda) return cuda::capturing();
  return false;
}

}  // namespace ito
