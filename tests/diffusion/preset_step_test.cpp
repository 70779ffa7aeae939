// A whole training step of the presets at their real width: gradients in f32 against f64, and the
// same bits for any number of threads.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <vector>

#include "autograd/engine.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "data/batch.h"
#include "nn/adam.h"
#include "tests/compare.h"
#include "tests/diffusion/tiny_unet.h"
#include "tests/oracles/chain.h"
#include "tests/scopes.h"

using namespace ito;
using kernel::ConvAlgorithm;
using test::Chain;
using test::Forced;

namespace {

Tensor in_f64(const Tensor& x) { return cast(x, DType::f64); }
double norm(const Tensor& x) { return std::sqrt(sum(square(in_f64(x))).item()); }

// A network that puts out something: fresh, it puts out zeros, and most gradients are zero.
UNet network(const UNetConfig& config) {
  UNet unet = test::make_unet(config);
  test::randomize(unet, 0.03);
  return unet;
}

// What two steps of training leave behind.
struct Trained {
  Tensor losses, grads, values, average;
};

Trained train(const UNetConfig& config, const std::vector<std::int64_t>& images) {
  UNet unet = network(config);
  nn::FlatParameters flat(unet);
  nn::Adam adam(flat);
  nn::Ema ema(flat, 0.9);
  adam.set_lr(1e-3);
  data::Dataset set;
  Rng pixels(1, Purpose::data), times(2, Purpose::timestep), noise(2, Purpose::noise);
  set.images = data::to_bytes(
      2.0 * rand(pixels, {8, config.image_size, config.image_size, config.in_channels}) - 1.0);
  const Chain process{NoiseSchedule::linear()};
  const auto batch = static_cast<std::int64_t>(images.size());
  Trained trained;
  for (std::uint64_t number = 0; number < 2; ++number) {
    for (Rng* rng : {&times, &noise}) rng->seek(number);
    Rng dropout(3, Purpose::dropout);
    dropout.seek(number);
    const Tensor t = randint(times, 0, 1000, {batch});
    const Tensor x0 = data::gather_batch(set, Tensor::from(images, {batch}), nullptr);
    const Tensor eps = randn(noise, x0.shape(), DType::f32, x0.device());
    const Levels levels = process.levels(t, x0);
    const Tensor x_t = add_noise(x0, eps, levels);
    trained.losses = process.losses_of(unet(x_t, levels.time, {}, &dropout), x0, t, eps);
    flat.zero_grad();
    backward(mean(trained.losses));
    adam.step_if_finite({.max_norm = 1.0, .average = &ema, .losses = detach(trained.losses)});
  }
  return {trained.losses, flat.grads.clone(), flat.master.clone(), ema.values.clone()};
}

bool same(const Trained& a, const Trained& b) {
  return test::same_bits(a.losses, b.losses) && test::same_bits(a.grads, b.grads) &&
         test::same_bits(a.values, b.values) && test::same_bits(a.average, b.average);
}

// Gradients of the mean loss of three images in this order, parameter by parameter.
std::vector<Tensor> gradients(UNet& unet, DType dtype,
                              const std::vector<std::int64_t>& order = {0, 1, 2}) {
  const UNetConfig& c = unet.config;
  Rng rng(6, Purpose::test);
  const Shape shape{3, c.image_size, c.image_size, c.in_channels};
  const Tensor images = Tensor::from(order, {3});
  const auto drawn = [&](const Tensor& x) { return cast(gather(x, images), dtype); };
  const Tensor x0 = drawn(rand(rng, shape)), eps = drawn(randn(rng, shape));
  const Tensor t = gather(test::timesteps({20, 400, 900}), images);
  const Chain process{NoiseSchedule::linear()};
  return grad(process.loss(std::cref(unet), x0, t, eps), nn::parameters(unet));
}

struct Errors {
  std::vector<double> of_tensor;
  int zeros = 0;  // tensors whose gradient is zero, but for rounding
};

// |got - wanted| / |wanted| of each tensor, in the 2-norm. A gradient that is zero by symmetry has
// no relative error: what it puts in the place of zero is held against a hundredth of the whole.
Errors relative_errors(const std::vector<Tensor>& got, const std::vector<Tensor>& wanted) {
  double squares = 0.0;
  for (const Tensor& w : wanted) squares += std::pow(norm(w), 2);
  const double whole = std::sqrt(squares);
  Errors errors;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double size = norm(wanted[i]);
    const bool zero = size < 1e-7 * whole;
    errors.zeros += zero;
    errors.of_tensor.push_back(norm(in_f64(got[i]) - in_f64(wanted[i])) /
                               (zero ? 0.01 * whole : size));
  }
  return errors;
}

}  // namespace

TEST_CASE("step: every gradient of the MNIST network in f32 is that of f64 within 1e-4") {
  UNet single = network(UNetConfig::mnist()), exact = network(UNetConfig::mnist());
  nn::to_dtype(exact, DType::f64);
  std::vector<Tensor> wanted;
  {
    const Forced direct(ConvAlgorithm::direct);
    wanted = gradients(exact, DType::f64);
  }
  const auto names = nn::named_parameters(single);
  std::map<ConvAlgorithm, double> worst;
  for (const auto algorithm :
       {ConvAlgorithm::automatic, ConvAlgorithm::direct, ConvAlgorithm::winograd,
        ConvAlgorithm::winograd_2, ConvAlgorithm::winograd_4}) {
    const Forced forced(algorithm);
    const Errors errors = relative_errors(gradients(single, DType::f32), wanted);
    for (std::size_t i = 0; i < names.size(); ++i) {
      CHECK_MESSAGE(errors.of_tensor[i] < 1e-4, names[i].first, ": ", errors.of_tensor[i]);
    }
    // Softmax ignores the biases of the keys (6). In the first level's blocks each group of a norm
    // is one channel, which takes away the biases before it and what the timestep adds (17).
    CHECK(errors.zeros == 23);
    worst[algorithm] = std::ranges::max(errors.of_tensor);
  }
  MESSAGE("largest error: direct ", worst[ConvAlgorithm::direct], ", F(2x2, 3x3) ",
          worst[ConvAlgorithm::winograd_2], ", F(4x4, 3x3) ", worst[ConvAlgorithm::winograd_4],
          ", as chosen ", worst[ConvAlgorithm::automatic]);

  // One layer's weights with the 8 bits of bf16 are found out in the gradients.
  Tensor weight = single.down_blocks[1].resnets[0].conv1.weight;
  weight.assign(cast(cast(weight, DType::bf16), DType::f32));
  const Errors rounded = relative_errors(gradients(single, DType::f32), wanted);
  CHECK(std::ranges::max(rounded.of_tensor) > 1e-3);
}

TEST_CASE("step: two steps of a preset have the same bits for 1, 2 and 4 threads") {
  const test::ThreadScope scope;
  const auto check = [](UNetConfig config, ConvAlgorithm algorithm) {
    const Forced forced(algorithm);
    config.dropout = 0.1;
    set_num_threads(1);
    const Trained one = train(config, {0, 1});
    for (const int threads : {2, 4}) {
      set_num_threads(threads);
      CHECK(same(train(config, {0, 1}), one));
    }
    return one;
  };
  const Trained direct = check(UNetConfig::mnist(), ConvAlgorithm::direct);
  const Trained winograd = check(UNetConfig::mnist(), ConvAlgorithm::winograd);
  CHECK_FALSE(same(direct, winograd));  // they are different algorithms
  check(UNetConfig::mnist(), ConvAlgorithm::automatic);
  check(UNetConfig::cifar10(), ConvAlgorithm::automatic);
}

TEST_CASE("step: what a network makes of an image has the same bits in any batch") {
  const NoGrad off;
  for (const UNetConfig& config : {UNetConfig::mnist(), UNetConfig::cifar10()}) {
    const UNet unet = network(config);
    Rng rng(4, Purpose::test);
    const Tensor x = randn(rng, {12, config.image_size, config.image_size, config.in_channels});
    const Tensor t = randint(rng, 0, 1000, {12});
    const Tensor all = unet(x, t);
    for (const std::int64_t n : {1, 2, 5}) {
      CAPTURE(n);
      const Tensor some = unet(slice(x, 0, 0, n), slice(t, 0, 0, n));
      CHECK(test::same_bits(some, slice(all, 0, 0, n)));
    }
    const Forced other(ConvAlgorithm::winograd_2);
    CHECK(!test::same_bits(unet(x, t), all));
  }
}

TEST_CASE("step: the comparison of bits sees sums that are added in another order") {
  const UNetConfig config = UNetConfig::mnist();
  UNet unet = network(config);
  const std::vector<Tensor> a = gradients(unet, DType::f32, {0, 1, 2});
  const std::vector<Tensor> b = gradients(unet, DType::f32, {2, 0, 1});
  const Errors errors = relative_errors(b, a);
  CHECK(std::ranges::max(errors.of_tensor) < 1e-4);
  CHECK_FALSE(test::same_bits(a[0], b[0]));
}
