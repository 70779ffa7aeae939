// The memory of whole training steps on the CPU: nothing new from the system after the first, and
// little beyond what lives.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include "autograd/engine.h"
#include "autograd/ops/reduce.h"
#include "nn/adam.h"
#include "nn/ema.h"
#include "tensor/memory.h"
#include "tests/diffusion/tiny_unet.h"
#include "tests/sanitized.h"

using namespace ito;

namespace {

long page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

// A network of every kind of block on images large enough for the arena.
class Training {
 public:
  Training() : unet_(test::make_unet(config())), flat_(unet_), adam_(flat_), ema_(flat_, 0.9) {
    adam_.set_lr(1e-4);
  }

  void step() {
    Rng rng(1, Purpose::noise);
    const Tensor x = randn(rng, {8, 24, 24, 2});
    flat_.zero_grad();
    backward(mean(unet_(x, test::timesteps({1, 2, 3, 4, 5, 6, 7, 8}))));
    adam_.step_if_finite({.max_norm = 1.0, .average = &ema_});
  }

 private:
  static UNetConfig config() {
    UNetConfig c = test::tiny_config();
    c.image_size = 24;
    c.base_channels = 16;
    c.attention_resolutions = {12};
    return c;
  }

  UNet unet_;
  nn::FlatParameters flat_;
  nn::Adam adam_;
  nn::Ema ema_;
};

}  // namespace

TEST_CASE("training step: from the third on, pages are those of the steps before") {
  if (test::sanitized) return;  // nothing is kept
  Training training;
  for (int i = 0; i < 2; ++i) training.step();
  const auto faults_of = [&](auto between) {
    const long before = page_faults();
    for (int i = 0; i < 4; ++i) {
      between();
      training.step();
    }
    return page_faults() - before;
  };
  const long kept = faults_of([] {}), given_back = faults_of([] { memory::empty_cache(); });
  MESSAGE("page faults of four steps: ", kept,
          "; when memory is given back in between: ", given_back);
  CHECK(kept < 40);
  CHECK(given_back > 2 * kept + 40);
}

TEST_CASE("training step: memory held is little more than the tensors at their peak") {
  memory::empty_cache();
  const std::size_t before = memory::usage().current;
  Training training;
  memory::reset_peak();
  for (int i = 0; i < 3; ++i) training.step();
  const memory::Usage now = memory::usage();
  const auto held = static_cast<double>(now.current + now.cached - before);
  const auto peak = static_cast<double>(now.peak - before);
  MESSAGE("held ", held / peak, " of the peak of ", 1e-6 * peak, " MB");
  CHECK(held < 1.2 * peak);
}
