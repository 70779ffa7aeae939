// A whole step of training as the programs make it, on every device: recorded or not it has the
// same bits, and once recorded it asks for no memory and waits for nothing.
#include <doctest/doctest.h>

#include <vector>

#include "autograd/engine.h"
#include "autograd/ops/reduce.h"
#include "data/batch.h"
#include "nn/adam.h"
#include "nn/step_history.h"
#include "tensor/cuda_graph.h"
#include "tests/devices.h"
#include "tests/diffusion/tiny_unet.h"
#include "tests/oracles/chain.h"

#if ITO_EMULATED_DEVICE
#include "cuda/emulate/emulate.h"
#endif

using namespace ito;
using test::Chain;

namespace {

struct Result {
  std::vector<float> values, average, losses;
  std::vector<double> norms;
  friend bool operator==(const Result&, const Result&) = default;
};

// Six steps; what is learnt and seen.
Result train(Device device, DType dtype, bool use_graph, bool recompute = false) {
  constexpr std::int64_t batch = 3;
  UNetConfig config = test::tiny_config();
  config.image_size = 8;
  config.attention_resolutions = {4};
  config.in_channels = config.out_channels = 1;
  UNet unet = test::make_unet(config);
  test::randomize(unet, 0.1);  // fresh, it puts out zeros
  unet.recompute = recompute;
  const auto set = data::make_synthetic(10, 1, {.size = config.image_size});
  const data::Dataset there = set.to(device);
  const Chain process{NoiseSchedule::linear(50)};
  nn::FlatParameters flat(unet, device, dtype);
  nn::Adam adam(flat);
  nn::Ema ema(flat, 0.9);
  nn::StepHistory history(6, batch, device);
  Rng flips(4, Purpose::augment), times(4, Purpose::timestep), noise(4, Purpose::noise);
  Tensor images = Tensor::zeros({batch}, DType::i64, device);
  Tensor number = Tensor::zeros({1}, DType::i64, device);
  for (Rng* rng : {&flips, &times, &noise}) rng->bind(number);
  CudaGraph step(
      device,
      [&] {
        for (Rng* rng : {&flips, &times, &noise}) rng->seek(0);
        const Tensor t = randint(times, 0, 50, {batch}, device);
        const Tensor x0 = data::gather_batch(there, images, &flips);
        const Tensor eps = randn(noise, x0.shape(), DType::f32, x0.device());
        const Levels levels = process.levels(t, x0);
        const Tensor x_t = add_noise(x0, eps, levels);
        const Tensor losses = process.losses_of(unet(x_t, levels.time), x0, t, eps);
        flat.zero_grad();
        backward(mean(losses));
        adam.step_if_finite({.max_norm = 1.0, .average = &ema, .losses = losses});
        history.add(losses, t, adam);
      },
      use_graph);
#if ITO_EMULATED_DEVICE
  emulate::Counts warm;
#endif
  for (int i = 0; i < 6; ++i) {
    images.assign(Tensor::from<std::int64_t>({i, (i + 3) % 10, 9 - i}, {batch}));
    number.fill(i);
    adam.set_lr(1e-3 * (i + 1));
#if ITO_EMULATED_DEVICE
    if (i == 3) warm = emulate::counts();
#endif
    step.run();
  }
#if ITO_EMULATED_DEVICE
  if (use_graph && device.is_cuda()) {
    const emulate::Counts now = emulate::counts();
    CHECK(now.allocations == warm.allocations);
    CHECK(now.synchronisations == warm.synchronisations);
    CHECK(now.launches - warm.launches < 12);  // the inputs of three steps and of no other kernel
  }
#endif
  Result result;
  for (const auto& row : history.drain()) {
    CHECK(row.updated);
    result.losses.insert(result.losses.end(), row.losses.begin(), row.losses.end());
    result.norms.push_back(row.grad_norm);
  }
  result.values = flat.master.to_vector<float>();
  result.average = ema.values.to_vector<float>();
  return result;
}

}  // namespace

TEST_CASE("a training step: recorded or not, the same bits; on the device, the CPU's losses") {
  const Result cpu = train(Device::cpu(), DType::f32, true);
  CHECK(cpu.losses.size() == 18);
  CHECK(train(Device::cpu(), DType::f32, false) == cpu);
  if (!testing::device_answers()) return;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Result graph = train(Device::cuda(), dtype, true);
    CHECK(train(Device::cuda(), dtype, false) == graph);
    const double tolerance = dtype == DType::f32 ? 1e-4 : 0.03;
    REQUIRE(graph.losses.size() == cpu.losses.size());
    for (std::size_t i = 0; i < cpu.losses.size(); ++i) {
      CHECK(double{graph.losses[i]} == doctest::Approx(double{cpu.losses[i]}).epsilon(tolerance));
    }
  }
}

TEST_CASE("a training step: blocks that are computed again learn the same, recorded or not") {
  for (const Device device : testing::devices()) {
    const Result kept = train(device, DType::f32, true),
                 again = train(device, DType::f32, true, true);
    CHECK(train(device, DType::f32, false, true) == again);
    REQUIRE(again.losses.size() == kept.losses.size());
    for (std::size_t i = 0; i < kept.losses.size(); ++i) {
      CHECK(double{again.losses[i]} == doctest::Approx(double{kept.losses[i]}).epsilon(1e-4));
    }
  }
}
