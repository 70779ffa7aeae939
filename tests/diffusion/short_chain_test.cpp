// Chains over some of the timesteps, and what a sampler shows of x_0 on its way.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops/reduce.h"
#include "diffusion/respaced.h"
#include "diffusion/samplers.h"
#include "tests/diffusion/gaussian_data.h"

using namespace ito;

namespace {

const GaussianDiffusion process{NoiseSchedule::cosine(), Prediction::v};

double max_difference(const Tensor& a, const Tensor& b) { return max(abs(a - b)).item(); }

// Not linear: a stand-in for a network.
Tensor network(const Tensor& x_t, const Tensor& t) {
  return tanh(test::exact_denoiser(process, 0.25)(x_t, t));
}

Tensor noise_of(Rng rng, std::int64_t t, const Shape& shape) {
  rng.seek(static_cast<std::uint64_t>(t) + 1);
  return randn(rng, shape, DType::f64);
}

}  // namespace

TEST_CASE("short chains: few steps of DDIM are all steps of the respaced process") {
  Rng rng(1, Purpose::sample);
  const Tensor x_T = randn(rng, {3, 2}, DType::f64);
  const Tensor few = sample_ddim(process, network, x_T, rng, {.steps = 7});
  const Respaced chain = respaced(process, network, evenly_spaced_timesteps(1000, 7));
  const Tensor all = sample_ddim(chain.process, chain.model, x_T, rng, {.steps = 7});
  CHECK(max_difference(few, all) < 1e-13);
  // The network must be asked at the timesteps of the schedule it was trained on.
  const Tensor asked_wrongly = sample_ddim(chain.process, network, x_T, rng, {.steps = 7});
  CHECK(max_difference(asked_wrongly, all) > 1e-2);
}

TEST_CASE("short chains: DDPM over some timesteps uses their noise, not that of single steps") {
  Rng rng(2, Purpose::sample);
  const Tensor x_T = randn(rng, {3, 2}, DType::f64);
  double worst = 0.0, worst_single = 0.0;
  const std::vector<std::int64_t> visited = evenly_spaced_timesteps(1000, 5);
  sample_ddpm(
      process, network, x_T, rng,
      {.steps = 5, .observer = [&](const SampleStep& step) {
         const std::int64_t t = step.t, s = step.step == 5
                                                ? -1
                                                : visited[4 - static_cast<std::size_t>(step.step)];
         const double a_t = process.schedule.alpha_bar(t), a_s = process.schedule.alpha_bar(s);
         const Tensor z = noise_of(rng, t, {3, 2});
         // q(x_s | x_t, x_0) times what is left of it, for a given beta of the step.
         const auto step_with = [&](double beta) {
           const Tensor mean = std::sqrt(a_s) * beta / (1.0 - a_t) * step.x0 +
                               std::sqrt(1.0 - beta) * (1.0 - a_s) / (1.0 - a_t) * step.x_t;
           return mean + (s == -1 ? 0.0 : std::sqrt(beta)) * z;
         };
         worst = std::max(worst, max_difference(step.x_next, step_with(1.0 - a_t / a_s)));
         worst_single = std::max(worst_single,
                                 max_difference(step.x_next, step_with(process.schedule.beta(t))));
       }});
  CHECK(worst < 1e-12);
  CHECK(worst_single > 0.1);
}

TEST_CASE(
    "progressive x_0: an observer sees the estimate of each step, and the last is the image") {
  Rng rng(3, Purpose::sample);
  const Tensor x_T = randn(rng, {4, 6}, DType::f64);
  const Denoiser exact = test::exact_denoiser(process, 0.25);
  std::vector<Tensor> estimates;
  const Tensor image =
      sample_ddpm(process, exact, x_T, rng, {.observer = [&](const SampleStep& step) {
                    const Tensor t = same_timestep(step.t, step.x_t);
                    const Tensor wanted = process.denoise(exact, step.x_t, t).x0;
                    CHECK(max_difference(step.x0, wanted) < 1e-14);
                    estimates.push_back(step.x0.clone());
                  }});
  REQUIRE(estimates.size() == 1000);
  CHECK(max_difference(estimates.back(), image) < 1e-13);
  // From noise alone nothing can be told; then the image is known in part, and at last in full.
  const auto distance = [&](std::size_t i) { return mean(square(estimates[i] - image)).item(); };
  CHECK(max(abs(estimates[0])).item() < 1e-3);
  CHECK(distance(0) > 0.1);
  CHECK(distance(900) < 0.5 * distance(0));
  CHECK(distance(990) < 0.01 * distance(0));
}
