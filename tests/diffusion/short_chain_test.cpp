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
Tensor network(const Tensor& x_t, const Tensor& time) {
  const Levels levels = process.levels(cast(time, DType::i64), x_t);
  const Denoised d = test::exact_denoiser(process, 0.25)(x_t, levels);
  return tanh(process.parametrization().target(d.x0, d.eps, levels));
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
  const Chain chain{process.schedule.respaced(visited_timesteps(1000, 7)), process.prediction};
  const Tensor all = sample_ddim(chain.denoiser(network), x_T, chain.walk(), rng);
  CHECK(max_difference(few, all) < 1e-13);
  // The network must be asked at the timesteps of the schedule it was trained on.
  std::vector<Level> counted = chain.walk();
  for (std::size_t i = 0; i < 7; ++i) counted[i].time = static_cast<double>(6 - i);
  const Tensor asked_wrongly = sample_ddim(chain.denoiser(network), x_T, counted, rng);
  CHECK(max_difference(asked_wrongly, all) > 1e-2);
}

TEST_CASE("short chains: DDPM over some timesteps uses their noise, not that of single steps") {
  Rng rng(2, Purpose::sample);
  const Tensor x_T = randn(rng, {3, 2}, DType::f64);
  double worst = 0.0, worst_single = 0.0;
  const std::vector<std::int64_t> visited = visited_timesteps(1000, 5);
  sample_ddpm(
      process.denoiser(network), x_T, process.walk(5), rng,
      {.loop = {.observer = [&](const SampleStep& step) {
         const auto t = static_cast<std::int64_t>(step.from.time);
         const bool last = step.to.is_clean();
         const double a_t = step.from.alpha * step.from.alpha, a_s = step.to.alpha * step.to.alpha;
         if (!last)
           CHECK(step.to.time ==
                 static_cast<double>(visited[4 - static_cast<std::size_t>(step.step)]));
         const Tensor z = noise_of(rng, t, {3, 2});
         // q(x_s | x_t, x_0) times what is left of it, for a given beta of the step.
         const auto step_with = [&](double beta) {
           const Tensor mean = std::sqrt(a_s) * beta / (1.0 - a_t) * step.x0 +
                               std::sqrt(1.0 - beta) * (1.0 - a_s) / (1.0 - a_t) * step.x_t;
           return mean + (last ? 0.0 : std::sqrt(beta)) * z;
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
  const Tensor image = sample_ddpm(process.denoiser(exact), x_T, process.walk(), rng,
                                   {.loop = {.observer = [&](const SampleStep& step) {
                                      const Tensor wanted =
                                          exact(step.x_t, same_level(step.from, step.x_t)).x0;
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
  // Bright images: N(0.7, 0.25). From x_T = 0, the mean of the noise, each sampler follows the
  // mean.
  const auto bias = [](const NoiseSchedule& schedule, const auto& sample) {
    const Chain bright{schedule, Prediction::v};
    const Denoiser model = [&](const Tensor& x_t, const Levels& level) {
      const Tensor centred = x_t - 0.7 * level.alpha;
      const Tensor per_variance = centred / (0.25 * square(level.alpha) + square(level.sigma));
      return Denoised{0.7 + 0.25 * level.alpha * per_variance, level.sigma * per_variance, {}};
    };
    return sample(bright, model, Tensor::zeros({1, 1}, DType::f64)).item() - 0.7;
  };
  const NoiseSchedule old = NoiseSchedule::named("stable-diffusion");
  const NoiseSchedule shifted = old.with_zero_terminal_snr();
  const auto check = [&](const char* name, const auto& sample) {
    CAPTURE(name);
    CHECK(std::abs(bias(shifted, sample)) < 1e-12);
    CHECK(bias(old, sample) < -0.01);  // x_T keeps 7 % of the brightness, which nobody supplied
  };
  const Rng rng(4, Purpose::sample);
  check("ddim", [&](const Chain& p, const Denoiser& model, const Tensor& x_T) {
    return sample_ddim(model, x_T, p.walk(20), rng);
  });
  check("euler", [&](const Chain& p, const Denoiser& model, const Tensor& x_T) {
    return sample_euler(model, x_T, p.walk(20));
  });
  check("heun", [&](const Chain& p, const Denoiser& model, const Tensor& x_T) {
    return sample_heun(model, x_T, p.walk(20), rng);
  });
  check("dpmpp2m", [&](const Chain& p, const Denoiser& model, const Tensor& x_T) {
    return sample_dpmpp_2m(model, x_T, p.walk(20));
  });
  check("unipc", [&](const Chain& p, const Denoiser& model, const Tensor& x_T) {
    return sample_unipc(model, x_T, p.walk(20));
  });
}
