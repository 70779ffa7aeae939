// Work that is recorded once and replayed: on CUDA a CUDA graph, which starts hundreds of kernels
// with one call; on the CPU the work itself, run again.
//
//   Tensor t = Tensor::zeros({x.size(0)}, DType::i64, device), y;
//   CudaGraph step(device, [&] { y = unet(x, t); });
//   for (int i = 0; i < 1000; ++i) {
//     t.fill(i);                                  // what changes lives in device memory
//     step.run();
//   }
//
// The work must start the same kernels with the same sizes and addresses every time: sizes,
// scalars, small copies from the host and host-side decisions are frozen when it is recorded. It
// must not read results back. Graphs do not nest, and one thread uses the device while a graph is
// recorded.
#pragma once

#include <functional>
#include <memory>

#include "tensor/device.h"

namespace ito {

class CudaGraph {
 public:
  /// Runs `work` on `device`. With `enabled` false run() always calls the work itself.
  CudaGraph(Device device, std::function<void()> work, bool enabled = true);
  ~CudaGraph();
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  /// On CUDA the first call runs the work as it is, with memory from a pool of this graph's own;
  /// the second records it and starts the recording; later ones start the recording. Tensors that
  /// the work makes keep their addresses from the second call on, and may outlive the graph. Throws
  /// DeviceError when the recorded work asks for what a graph cannot hold: new memory from the
  /// system, a result read back. What the work throws passes through, and the next call tries
  /// again.
  void run();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Whether a graph is being recorded: nothing may be read back now, so checks of values are left
/// to the first run.
bool capturing();

}  // namespace ito
