// What a step may cost the host once it is warm: launches, but no memory from the system and no
// wait.
#include <doctest/doctest.h>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/linalg.h"
#include "cuda/allocator.h"
#include "cuda/emulate/emulate.h"
#include "tensor/build.h"
#include "tensor/cuda_graph.h"
#include "tensor/rng.h"
#include "tests/devices.h"

using namespace ito;

namespace {

// A step with what steps have: a batch from the host, random numbers, products, temporaries, state.
struct Step {
  Device device = Device::cuda();
  Rng rng{1};
  Tensor number = Tensor::zeros({1}, DType::i64, device);
  Tensor batch = Tensor::zeros({8, 16}, DType::f32, device);
  Tensor weight = Tensor::full({16, 4}, 0.5, DType::f32, device);
  Tensor state = Tensor::zeros({8, 4}, DType::f32, device);
  Tensor result;

  Step() { rng.bind(number); }
  void feed(int i) {
    number.fill(i);
    batch.assign(Tensor::full({8, 16}, i));
  }
  void work() {
    rng.seek(0);
    const Tensor noisy = batch + randn(rng, {8, 16}, DType::f32, device);
    result = matmul(noisy, weight);
    state.assign(state * 0.9 + result);
  }
};

}  // namespace

TEST_CASE("A warm step neither asks the system for memory nor waits for the device") {
  if (!testing::device_answers()) return;
  if constexpr (build::emulated) {
    for (const bool recorded : {true, false}) {
      if (!recorded && !cuda::Allocator::keeps_by_default) continue;  // under sanitizers
      Step step;
      CudaGraph graph(
          step.device, [&] { step.work(); }, recorded);
      for (int i = 0; i < 3; ++i) {
        step.feed(i);
        graph.run();
      }
      const emulate::Counts before = emulate::counts();
      for (int i = 3; i < 20; ++i) {
        step.feed(i);
        graph.run();
      }
      const emulate::Counts after = emulate::counts();
      CHECK(after.allocations == before.allocations);
      CHECK(after.synchronisations == before.synchronisations);
      // A recorded step launches the two kernels of feed() at most, whatever its work.
      if (recorded) CHECK(after.launches - before.launches <= 2 * 17);
      CHECK(step.state.to_vector<float>().size() == 32);
    }
  }
}

TEST_CASE("A recorded step computes what the eager one does, bit for bit") {
  if (!testing::device_answers()) return;
  Step eager, recorded;
  CudaGraph graph(recorded.device, [&] { recorded.work(); });
  for (int i = 0; i < 6; ++i) {
    eager.feed(i);
    eager.work();
    recorded.feed(i);
    graph.run();
    CHECK(recorded.result.to_vector<float>() == eager.result.to_vector<float>());
    CHECK(recorded.state.to_vector<float>() == eager.state.to_vector<float>());
  }
}
