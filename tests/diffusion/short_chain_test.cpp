// Chains over some of the timesteps, chains that end in nothing but noise, and what a sampler shows
// of x_0 on its way.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/reduce.h"
#include "diffusion/sampling/samplers.h"
#include "tests/compare.h"
#include "tests/oracles/gaussian_data.h"

using namespace ito;
using test::Chain;
using test::max_difference;

namespace {

const Chain process{NoiseSchedule::cosine(), Prediction::v};

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
  const Tensor few = sample_ddim(process.denoiser(network), x_T, process.walk(7), rng);
  const Respaced chain = respaced(process, network, visited_timesteps(1000, 7));
  const Tensor all = sample_ddim(chain.process.denoiser(chain.model), x_T, chain.process.walk(7), rng);
  CHECK(max_difference(few, all) < 1e-13);
  // The network must be asked at the timesteps of the schedule it was trained on.
  const Tensor asked_wrongly = sample_ddim(chain.process.denoiser(network), x_T, chain.process.walk(7), rng);
  CHECK(max_difference(asked_wrongly, all) > 1e-2);
}

TEST_CASE("short chains: DDPM over some timesteps uses their noise, not that of single steps") {
  Rng rng(2, Purpose::sample);
  const Tensor x_T = randn(rng, {3, 2}, DType::f64);
  double worst = 0.0, worst_single = 0.0;
  const std::vector<std::int64_t> visited = visited_timesteps(1000, 5);
  sample_ddpm(process.denoiser(network), x_T, process.walk(5), rng, {.loop = {.observer = [&](const SampleStep& step) {
         const std::int64_t t = step.from.time, s = step.step == 5
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
       }}});
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
      sample_ddpm(process.denoiser(exact), x_T, process.walk(), rng, {.loop = {.observer = [&](const SampleStep& step) {
                    const Tensor t = same_timestep(step.from.time, step.x_t);
                    const Tensor wanted = process.denoise(exact, step.x_t, t).x0;
                    CHECK(max_difference(step.x0, wanted) < 1e-14);
                    estimates.push_back(step.x0.clone());
                  }}});
  REQUIRE(estimates.size() == 1000);
  CHECK(max_difference(estimates.back(), image) < 1e-13);
  // From noise alone nothing can be told; then the image is known in part, and at last in full.
  const auto distance = [&](std::size_t i) { return mean(square(estimates[i] - image)).item(); };
  CHECK(max(abs(estimates[0])).item() < 1e-3);
  CHECK(distance(0) > 0.1);
  CHECK(distance(900) < 0.5 * distance(0));
  CHECK(distance(990) < 0.01 * distance(0));
}

TEST_CASE("zero terminal SNR: the mean of the samples is that of the data, under every sampler") {
  // Bright images: N(0.7, 0.25). From x_T = 0, the mean of the noise, each sampler follows the mean.
  const auto bias = [](const NoiseSchedule& schedule, const auto& sample) {
    const Chain bright{schedule, Prediction::v};
    const Denoiser model = [&](const Tensor& x_t, const Tensor& t) {
      const Levels level = bright.levels(t, x_t);
      const Tensor centred = x_t - 0.7 * level.alpha;
      const Tensor per_variance = centred / (0.25 * square(level.alpha) + square(level.sigma));
      return target(Prediction::v, 0.7 + 0.25 * level.alpha * per_variance, level.sigma * per_variance, level);
    };
    return sample(bright, model, Tensor::zeros({1, 1}, DType::f64)).item() - 0.7;
  };
  const NoiseSchedule old = NoiseSchedule::named("stable-diffusion");
  const NoiseSchedule shifted = old.with_zero_terminal_snr();
  const OdeOptions ode{.steps = 20, .spacing = Spacing::even};
  const auto check = [&](const char* name, const auto& sample) {
    CAPTURE(name);
    CHECK(std::abs(bias(shifted, sample)) < 1e-12);
    CHECK(bias(old, sample) < -0.01);  // x_T keeps 7 % of the brightness, which nobody supplied
  };
  const auto process_and = [](const auto& sampler, const auto& options) {
    return [&sampler, options](const auto& p, const auto& model, const Tensor& x_T) {
      return sampler(p, model, x_T, Rng(4, Purpose::sample), options);
    };
  };
  check("ddim", process_and(sample_ddim, DdimOptions{.steps = 20}));
  check("euler", process_and(sample_euler, ode));
  check("heun", process_and(sample_heun, HeunOptions{.steps = 20, .spacing = Spacing::even}));
  check("dpmpp2m", process_and(sample_dpmpp_2m, ode));
  check("unipc", process_and(sample_unipc, ode));
}
