// Moments in the stream, for profiles: CUDA events.
#include "cuda/runtime.h"
#include "tensor/error.h"
#include "tensor/kernels/device_runtime.h"

namespace ito::cuda {

class Moment {
 public:
  Moment() { check(cudaEventCreate(&event_), "cudaEventCreate"); }
  ~Moment() { cudaEventDestroy(event_); }
  Moment(const Moment&) = delete;
  Moment& operator=(const Moment&) = delete;
  cudaEvent_t event() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

std::shared_ptr<Moment> mark(int index) {
  require_device(index);
  if (capturing()) throw DeviceError("mark: a graph is being recorded");
  auto moment = std::make_shared<Moment>();
  check(cudaEventRecord(moment->event(), stream()), "cudaEventRecord");
  return moment;
}

double seconds_between(const Moment& first, const Moment& last) {
  float milliseconds = 0.0f;
  check(cudaEventSynchronize(first.event()), "cudaEventSynchronize of a moment");
  check(cudaEventSynchronize(last.event()), "cudaEventSynchronize of a moment");
  check(cudaEventElapsedTime(&milliseconds, first.event(), last.event()), "cudaEventElapsedTime");
  return 1e-3 * static_cast<double>(milliseconds);
}

}  // namespace ito::cuda
