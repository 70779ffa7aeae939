// Denoising autoencoders against the closed forms of normal distributions and their mixtures.
#include "diffusion/objective/denoising_autoencoder.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/engine.h"
#include "diffusion/models/mlp.h"
#include "nn/adam.h"
#include "nn/lr_schedule.h"
#include "tensor/error.h"
#include "tests/oracles/gaussian_mixture.h"

using namespace ito;
using oracle::GaussianMixture;

namespace {

const GaussianMixture mixture{
    {.5, .3, .2}, {{-1.5, 0}, {1.5, 1}, {0.5, -1}}, {{.25, .1}, {.1, .3}, {.05, .2}}};

// Noise on top of data that keep their scale.
Levels level(double sigma) {
  return {{}, Tensor::scalar(1.0, DType::f64), Tensor::scalar(sigma, DType::f64)};
}

Tensor f32(const Tensor& x) { return cast(x, DType::f32); }

// E|s - s*|^2 / E|s*|^2 over draws of x = x0 + sigma eps: where p_sigma is not tiny.
double relative_error(const Tensor& score, const Tensor& x, double sigma) {
  const Tensor exact = mixture.score(x, level(sigma));
  return sum(square(score - exact)).item() / sum(square(exact)).item();
}

}  // namespace

TEST_CASE("denoising autoencoder: with the best reconstruction it gives the exact score") {
  Rng rng(1, Purpose::test);
  for (const double sigma : {0.05, 0.5, 3.0}) {
    const Reconstruction best = [&](const Tensor& x) { return mixture.x0(x, level(sigma)); };
    const Tensor x = mixture.draw(rng, 200) + sigma * randn(rng, {200, 2}, DType::f64);
    const DenoisingAutoencoder dae{.sigma = sigma};
    const Tensor exact = mixture.score(x, level(sigma));
    // r - x is small beside x when sigma is: digits are lost as 1 / sigma^2.
    CHECK(max(abs(dae.score(best, x) - exact)).item() < 1e-13 * (1 + 1 / (sigma * sigma)));
    const DenoisingAutoencoder other{.sigma = 1.1 * sigma};
    CHECK(max(abs(other.score(best, x) - exact)).item() > 1e-3);
  }
}

TEST_CASE("denoising autoencoder: the least loss on normal data is the variance that is left") {
  // x0 and eps at (+-s, +-1) have all second moments of N(0, s^2) and N(0, 1).
  const double s = 0.7, sigma = 0.4;
  const Tensor x0 = s * Tensor::from<double>({1, 1, -1, -1}, {4, 1});
  const Tensor eps = Tensor::from<double>({1, -1, 1, -1}, {4, 1});
  const DenoisingAutoencoder dae{.sigma = sigma};
  const double slope = s * s / (s * s + sigma * sigma);
  const auto loss = [&](double factor) {
    return dae.loss([factor](const Tensor& x) { return factor * x; }, x0, eps).item();
  };
  CHECK(std::abs(loss(slope) - slope * sigma * sigma) < 1e-15);
  CHECK(loss(slope + 0.01) > loss(slope) + 1e-5);
  CHECK(loss(slope - 0.01) > loss(slope) + 1e-5);
  CHECK_THROWS_AS(
      dae.loss([](const Tensor& x) { return x; }, x0, Tensor::zeros({4, 2}, DType::f64)),
      ShapeError);
}

TEST_CASE("denoising autoencoder: a trained network's residual is the score") {
  const double sigma = 0.5;
  const DenoisingAutoencoder dae{.sigma = sigma};
  constexpr std::int64_t steps = 800, batch = 512;
  Rng init(2, Purpose::init), rng(3, Purpose::noise);
  Mlp mlp({.width = 64, .layers = 2, .octaves = 2}, init);
  const Reconstruction r = [&](const Tensor& x) {
    return x + mlp(x, Tensor::zeros({x.size(0)}, DType::i64));  // one noise level: no time
  };
  nn::FlatParameters flat(mlp);
  nn::Adam adam(flat);
  const auto lr = nn::LrSchedule::cosine(1e-2, /*warmup=*/0, steps);
  for (std::int64_t step = 0; step < steps; ++step) {
    const Tensor x0 = f32(mixture.draw(rng, batch));
    flat.zero_grad();
    backward(dae.loss(r, x0, randn(rng, {batch, 2})));
    adam.step(lr(step));
  }

  const NoGrad no_grad;
  const Tensor x = mixture.draw(rng, 20'000) + sigma * randn(rng, {20'000, 2}, DType::f64);
  const Tensor score = cast(dae.score(r, f32(x)), DType::f64);
  const double error = relative_error(score, x, sigma);
  MESSAGE("squared error of the score, relative: ", error);
  CHECK(error < 0.02);
  CHECK(relative_error(sigma * score, x, sigma) > 0.1);  // divided by sigma, not by its square
  CHECK(relative_error(score, x, 0.5 * sigma) > 0.1);    // another noise level has another score
}
