#include "tensor/rng.h"

#include <numeric>
#include <utility>

#include "tensor/error.h"
#include "tensor/kernels/random.h"
#include "tensor/launch.h"

namespace ito {
namespace {

// SplitMix64's finaliser: mixes seed and purpose into a key.
std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

Tensor draw(Rng& rng, const Shape& shape, DType dtype, Device device,
            kernel::Distribution distribution, std::int64_t low = 0, std::int64_t high = 0) {
  Tensor y = Tensor::empty(shape, dtype, device);
  const std::int64_t samples = shape.rank() == 0 ? 1 : shape[0];
  const Tensor& step = rng.bound_step();
  if (step.defined() && step.device() != device) {
    fail<DeviceError>("random: the bound step must be on the device of the draws; got {}, {}",
                      step.str(), device.str());
  }
  if (y.numel() == 0) return y;
  launch<kernel::Random>(device,
                         {y.mutable_raw(), samples, y.numel() / samples, rng.key(), rng.step(),
                          rng.first_sample(), rng.next_draw(), distribution, low, high, dtype,
                          step.defined() ? step.data<std::int64_t>() : nullptr});
  return y;
}

}  // namespace

Rng::Rng(std::uint64_t seed, Purpose purpose) : seed_(seed) {
  const std::uint64_t k =
      mix(seed + 0x9E3779B97F4A7C15u * (static_cast<std::uint64_t>(purpose) + 1));
  key_ = {static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(k >> 32)};
}

void Rng::seek(std::uint64_t step, std::uint64_t first_sample) {
  step_ = step;
  first_sample_ = first_sample;
  draw_ = 0;
}

void Rng::bind(Tensor step) {
  if (step.defined()) {
    if (step.dtype() != DType::i64) {
      fail<DTypeError>("Rng: a bound step must be i64; got {}", step.str());
    }
    if (step.numel() != 1) {
      fail<ShapeError>("Rng: a bound step must have one element; got {}", step.str());
    }
  }
  bound_ = std::move(step);
}

Tensor randn(Rng& rng, const Shape& shape, DType dtype, Device device) {
  return draw(rng, shape, dtype, device, kernel::Distribution::normal);
}

Tensor rand(Rng& rng, const Shape& shape, DType dtype, Device device) {
  return draw(rng, shape, dtype, device, kernel::Distribution::uniform);
}

Tensor randint(Rng& rng, std::int64_t low, std::int64_t high, const Shape& shape, Device device) {
  if (low >= high) fail<ValueError>("randint: low must be below high; got [{}, {})", low, high);
  return draw(rng, shape, DType::i64, device, kernel::Distribution::integer, low, high);
}

std::vector<std::int64_t> permutation(Rng& rng, std::int64_t n) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  const std::uint32_t draw = rng.next_draw();
  const Tensor& bound = rng.bound_step();
  const std::uint64_t step =
      bound.defined() ? static_cast<std::uint64_t>(bound.to_vector<std::int64_t>()[0]) : rng.step();
  for (std::int64_t i = n - 1; i > 0; --i) {
    const auto c = kernel::random_block(rng.key(), step, draw, rng.first_sample(),
                                        static_cast<std::uint64_t>(i));
    __extension__ using u128 = unsigned __int128;
    const std::uint64_t bits = (std::uint64_t{c.c0} << 32) | c.c1;
    const auto j =
        static_cast<std::uint64_t>((u128{bits} * static_cast<std::uint64_t>(i + 1)) >> 64);
    std::swap(order[static_cast<std::size_t>(i)], order[j]);
  }
  return order;
}

}  // namespace ito
