// The process and the samplers on the device: against f64 on the CPU, against closed forms, and a
// recorded step against the same operations one by one.
#include <doctest/doctest.h>

#include <cmath>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "diffusion/denoiser/thresholding.h"
#include "diffusion/sampling/samplers.h"
#include "tensor/cuda_graph.h"
#include "tensor/error.h"
#include "tests/compare.h"
#include "tests/devices.h"
#include "tests/diffusion/sampler_probe.h"
#include "tests/oracles/gaussian_data.h"

using namespace ito;
using test::bent_noise;
using test::Chain;
using test::exact_denoiser;
using test::marginal_variance;
using test::max_difference;
using test::same_bits;

namespace {

constexpr double unit_roundoff = 0x1p-24;  // of f32

Tensor on_cpu(const Tensor& x) { return x.to(Device::cpu()); }
Tensor in_f64(const Tensor& x) { return cast(on_cpu(x), DType::f64); }

Tensor drawn(std::uint64_t step, const Shape& shape) {
  Rng rng(31, Purpose::test);
  rng.seek(step);
  return randn(rng, shape);
}

struct Run {
  std::vector<Tensor> path;  // x_t after every step, on the CPU
  Tensor x0;
};

using GraphSampler = std::function<Run(const Denoiser&, const Tensor& x_T, bool graph)>;

GraphSampler ddpm(const Chain& process, ReverseVariance variance, std::int64_t steps) {
  return [=](const Denoiser& model, const Tensor& x_T, bool graph) {
    Run run;
    const Observer keep = [&](const SampleStep& s) {
      run.path.push_back(on_cpu(s.x_next).clone());
    };
    run.x0 =
        sample_ddpm(process.denoiser(model), x_T, process.walk(steps), Rng(32, Purpose::sample),
                    {.variance = variance, .loop = {.observer = keep, .graph = graph}});
    return run;
  };
}

GraphSampler ddim(const Chain& process, double eta, std::int64_t steps, bool clip = false) {
  return [=](const Denoiser& model, const Tensor& x_T, bool graph) {
    Run run;
    const Observer keep = [&](const SampleStep& s) {
      run.path.push_back(on_cpu(s.x_next).clone());
    };
    run.x0 = sample_ddim(
        thresholded(process.denoiser(model), clip ? Thresholding(clip_x0) : Thresholding{}), x_T,
        process.walk(steps), Rng(32, Purpose::sample),
        {.eta = eta, .loop = {.observer = keep, .graph = graph}});
    return run;
  };
}

// With the exact denoiser of N(0, s2) a step from t to s is x_s = m x_t + root_v z; here in double
// precision with the formulas of the true process, of which the samplers' code uses none.
struct ExactStep {
  double m, root_v;
};

ExactStep exact_ddpm_step(const NoiseSchedule& schedule, double s2, std::int64_t t, std::int64_t s,
                          ReverseVariance variance) {
  const double a_t = schedule.alpha_bar(t), a_s = s == -1 ? 1.0 : schedule.alpha_bar(s);
  const double beta = 1.0 - a_t / a_s, beta_tilde = beta * (1.0 - a_s) / (1.0 - a_t);
  // E[x_s | x_t] = Cov(x_s, x_t) / Var(x_t) x_t
  const double m = std::sqrt(a_t / a_s) * marginal_variance(a_s, s2) / marginal_variance(a_t, s2);
  return {m, s == -1 ? 0.0 : std::sqrt(variance == ReverseVariance::beta ? beta : beta_tilde)};
}

ExactStep exact_ddim_step(const NoiseSchedule& schedule, double s2, std::int64_t t, std::int64_t s,
                          double eta) {
  const double a_t = schedule.alpha_bar(t), a_s = s == -1 ? 1.0 : schedule.alpha_bar(s);
  const double sigma2 = eta * eta * (1.0 - a_s) / (1.0 - a_t) * (1.0 - a_t / a_s);
  const double x0_of_x = std::sqrt(a_t) * s2 / marginal_variance(a_t, s2);
  const double eps_of_x = std::sqrt(1.0 - a_t) / marginal_variance(a_t, s2);
  return {std::sqrt(a_s) * x0_of_x + std::sqrt(1.0 - a_s - sigma2) * eps_of_x, std::sqrt(sigma2)};
}

// The farthest that `got` strays from the recursion, in units of the rounding that its arithmetic
// allows: a step is about a dozen rounded operations on numbers not larger than `size`, and m <=
// 1.1 hands the error on.
double distance_in_roundings(const Run& got, const Tensor& x_T, const NoiseSchedule& schedule,
                             std::int64_t steps,
                             const std::function<ExactStep(std::int64_t, std::int64_t)>& exact) {
  std::vector<std::int64_t> tau = visited_timesteps(schedule.timesteps(), steps);
  tau.insert(tau.begin(), -1);
  Tensor x = in_f64(x_T);
  double worst = 0.0, rounding = 0.0;
  for (std::size_t i = tau.size() - 1, k = 0; i > 0; --i, ++k) {
    const ExactStep step = exact(tau[i], tau[i - 1]);
    Rng rng(32, Purpose::sample);
    rng.seek(static_cast<std::uint64_t>(tau[i]) + 1);
    const double size = max(abs(x)).item() + 5.0;
    x = step.m * x + step.root_v * in_f64(randn(rng, x.shape()));
    rounding = std::abs(step.m) * rounding + 12 * unit_roundoff * size;
    worst = std::max(worst, max_difference(got.path[k], x) / rounding);
  }
  return worst;
}

}  // namespace

TEST_CASE("process on the device: every function is that of f64 on the CPU, within rounding") {
  if (!testing::device_answers()) return;
  const Device device = Device::cuda();
  const Shape shape{4, 15};
  const Tensor x0 = drawn(0, shape), eps = drawn(1, shape), x_t = drawn(2, shape);
  const Tensor t = Tensor::from<std::int64_t>({0, 17, 500, 999}, {4});
  const Tensor x0_ = x0.to(device), eps_ = eps.to(device), x_t_ = x_t.to(device), t_ = t.to(device);
  const Tensor X0 = in_f64(x0), EPS = in_f64(eps), X_t = in_f64(x_t);
  // a x + b y with a and b rounded to f32, both products and the sum: four roundings of numbers
  // below |x| + |y| < 10, the coefficients being at most 1.
  const double bound = 4 * unit_roundoff * 10;
  for (const auto prediction : {Prediction::epsilon, Prediction::x0, Prediction::v}) {
    const Chain process{NoiseSchedule::linear(), prediction};
    const auto add_noise = process.add_noise(x0_, t_, eps_);
    CHECK(add_noise.device() == device);
    CHECK(max_difference(add_noise, process.add_noise(X0, t, EPS)) < bound);
    CHECK(max_difference(process.target(x0_, t_, eps_), process.target(X0, t, EPS)) < bound);
    // The mean of 15 squares of numbers below 20, each known to a relative 16 roundings.
    const Tensor losses = process.losses(bent_noise, x0_, t_, eps_);
    CHECK(losses.shape() == Shape{4});
    CHECK(max_difference(losses, process.losses(bent_noise, X0, t, EPS)) <
          32 * unit_roundoff * 100);
    CHECK(process.loss(bent_noise, x0_, t_, eps_).item() ==
          doctest::Approx(process.loss(bent_noise, X0, t, EPS).item()).epsilon(1e-5));
    // What denoise() divides by is 0.0064 at t = 999, and tanh of the device may be off by 2 ulp.
    const Denoiser model = thresholded(process.denoiser(bent_noise), clip_x0);
    const Denoised d = process.denoise(model, x_t_, t_), D = process.denoise(model, X_t, t);
    CHECK(max_difference(d.x0, D.x0) < 8 * bound / 0.0063);
    CHECK(max_difference(d.eps, D.eps) < 8 * bound / 0.01);  // sigma at t = 0
  }
}

TEST_CASE("process on the device: levels of a batch are those of the schedule, rounded to f32") {
  if (!testing::device_answers()) return;
  const NoiseSchedule schedule = NoiseSchedule::cosine(50);
  const Tensor t = test::all_timesteps(schedule).to(Device::cuda());
  const Levels levels = schedule.levels(t, Tensor::zeros({50, 2}, DType::f32, Device::cuda()));
  CHECK(levels.alpha.device() == Device::cuda());
  const auto alpha = on_cpu(levels.alpha).to_vector<float>();
  const auto sigma = on_cpu(levels.sigma).to_vector<float>();
  for (std::int64_t step = 0; step < 50; ++step) {
    const auto i = static_cast<std::size_t>(step);
    CHECK(alpha[i] == static_cast<float>(schedule.level(step).alpha));
    CHECK(sigma[i] == static_cast<float>(schedule.level(step).sigma));
  }
}

TEST_CASE("process on the device: a wrong timestep is refused, and NaN in a recorded graph") {
  if (!testing::device_answers()) return;
  const Device device = Device::cuda();
  const Chain process{NoiseSchedule::linear(100)};
  const Tensor x = drawn(3, {2, 3}).to(device);
  Tensor t = Tensor::from<std::int64_t>({99, 100}, {2}).to(device);
  CHECK_THROWS_AS(process.add_noise(x, t, x), ValueError);
  CHECK_THROWS_AS(process.add_noise(x, Tensor::zeros({2}, DType::i64), x), DeviceError);
  t.fill(99);
  Tensor y;
  CudaGraph graph(device, [&] { y = process.add_noise(x, t, x); });
  graph.run();
  graph.run();
  CHECK(same_bits(y, process.add_noise(x, t, x)));
  t.assign(Tensor::from<std::int64_t>({100, 0}, {2}).to(device));
  graph.run();
  const auto values = on_cpu(y).to_vector<float>();
  for (std::size_t i = 0; i < 6; ++i) CHECK(std::isnan(values[i]) == (i < 3));
}

TEST_CASE("samplers on the device: every step follows the closed recursion of Gaussian data") {
  if (!testing::device_answers()) return;
  const Tensor x_T = drawn(4, {3, 2});
  constexpr std::int64_t steps = 20;
  for (const double s2 : {0.25, 1.0}) {
    for (const auto prediction : {Prediction::epsilon, Prediction::v}) {
      const Chain process{NoiseSchedule::linear(), prediction};
      const NoiseSchedule& schedule = process.schedule;
      const Denoiser model = exact_denoiser(process, s2);
      const Tensor start = x_T.to(Device::cuda());
      for (const auto variance : {ReverseVariance::beta, ReverseVariance::beta_tilde}) {
        const Run run = ddpm(process, variance, steps)(model, start, true);
        const auto exact = [&](std::int64_t t, std::int64_t s) {
          return exact_ddpm_step(schedule, s2, t, s, variance);
        };
        CHECK(distance_in_roundings(run, x_T, schedule, steps, exact) < 1.0);
        // The other variance is told apart.
        const auto other = [&](std::int64_t t, std::int64_t s) {
          return exact_ddpm_step(schedule, s2, t, s,
                                 variance == ReverseVariance::beta ? ReverseVariance::beta_tilde
                                                                   : ReverseVariance::beta);
        };
        CHECK(distance_in_roundings(run, x_T, schedule, steps, other) > 100.0);
      }
      for (const double eta : {0.0, 0.5}) {
        const Run run = ddim(process, eta, steps)(model, start, true);
        const auto exact = [&](std::int64_t t, std::int64_t s) {
          return exact_ddim_step(schedule, s2, t, s, eta);
        };
        CHECK(distance_in_roundings(run, x_T, schedule, steps, exact) < 1.0);
      }
    }
  }
}

TEST_CASE("samplers on the device: a recorded step has the bits of the operations one by one") {
  if (!testing::device_answers()) return;
  const Chain process{NoiseSchedule::linear(100)};
  const Tensor x_T = drawn(5, {3, 2}).to(Device::cuda());
  const Tensor copy = on_cpu(x_T);
  for (const std::int64_t steps : {1, 2, 3, 8}) {
    for (const GraphSampler& sampler :
         {ddpm(process, ReverseVariance::beta, steps), ddim(process, 0.0, steps),
          ddim(process, 0.7, steps, true)}) {
      const Run recorded = sampler(process.denoiser(bent_noise), x_T, true),
                direct = sampler(process.denoiser(bent_noise), x_T, false);
      REQUIRE(recorded.path.size() == static_cast<std::size_t>(steps));
      for (std::size_t i = 0; i < recorded.path.size(); ++i) {
        CHECK(same_bits(recorded.path[i], direct.path[i]));
      }
      CHECK(same_bits(recorded.x0, direct.x0));
      CHECK(recorded.x0.device() == Device::cuda());
    }
    for (const auto sample : {sample_euler, sample_dpmpp_2m, sample_unipc}) {
      const auto walk = process.walk(steps, Spacing::karras);
      const Denoiser model = process.denoiser(bent_noise);
      const Tensor recorded = sample(model, x_T, walk, {});
      CHECK(same_bits(recorded, sample(model, x_T, walk, {.graph = false})));
      CHECK(max_difference(recorded, sample(model, copy, walk, {})) < 1e-3);
    }
    for (const double churn : {0.0, 4.0}) {
      const auto walk = process.walk(steps, Spacing::karras);
      const Denoiser model = process.denoiser(bent_noise);
      const auto sample = [&](const Tensor& start, bool graph) {
        HeunOptions options{.churn = churn, .loop = {.graph = graph}};
        options.level_at = [&](double r) { return process.schedule.level_at(r); };
        return sample_heun(model, start, walk, Rng(1), options);
      };
      const Tensor recorded = sample(x_T, true);
      CHECK(same_bits(recorded, sample(x_T, false)));
      CHECK(max_difference(recorded, sample(copy, true)) < 1e-3);
    }
    CHECK(same_bits(
        encode_ddim(process.denoiser(bent_noise), x_T, process.walk(steps)),
        encode_ddim(process.denoiser(bent_noise), x_T, process.walk(steps), {.graph = false})));
  }
  CHECK(same_bits(x_T, copy));  // the caller's noise is left alone
}

TEST_CASE("samplers on the device: draw the CPU's numbers, and agree with it within rounding") {
  if (!testing::device_answers()) return;
  // x0 and eps are 0, so that what a path consists of is the noise drawn.
  const Chain of_x0{NoiseSchedule::linear(100), Prediction::x0};
  const Network zero = [](const Tensor& x, const Tensor&) { return zeros_like(x); };
  const Tensor none = Tensor::zeros({3, 2});
  const GraphSampler noise_only = ddpm(of_x0, ReverseVariance::beta, 10);
  CHECK(same_bits(noise_only(of_x0.denoiser(zero), none.to(Device::cuda()), true).path[0],
                  noise_only(of_x0.denoiser(zero), none, true).path[0]));

  const Chain process{NoiseSchedule::linear(100)};
  const Tensor x_T = drawn(6, {3, 2});
  for (const GraphSampler& sampler :
       {ddpm(process, ReverseVariance::beta, 20), ddim(process, 0.7, 20)}) {
    const Run here = sampler(process.denoiser(bent_noise), x_T, true);
    const Run there = sampler(process.denoiser(bent_noise), x_T.to(Device::cuda()), true);
    for (std::size_t i = 0; i < here.path.size(); ++i) {
      // Both round differently in a dozen operations per step, which the network (Lipschitz, 0.7)
      // hands on.
      const double size = max(abs(here.path[i])).item() + 5.0;
      CHECK(max_difference(here.path[i], there.path[i]) < 20 * 24 * unit_roundoff * size);
    }
  }
}

TEST_CASE("samplers on the device: a network that reads its tensors needs graph = false") {
  if (!testing::device_answers()) return;
  const Chain process{NoiseSchedule::linear(100)};
  const Network reads = [](const Tensor& x, const Tensor&) { return max(abs(x)).item() * x; };
  const Tensor x_T = drawn(7, {2, 3}).to(Device::cuda());
  const Rng rng(33, Purpose::sample);
  CHECK_THROWS_AS(sample_ddim(process.denoiser(reads), x_T, process.walk(4), rng), DeviceError);
  CHECK_NOTHROW(
      sample_ddim(process.denoiser(reads), x_T, process.walk(4), rng, {.loop = {.graph = false}}));
  // Nothing is left of the recording that failed.
  CHECK_FALSE(capturing());
  CHECK_NOTHROW(sample_ddim(process.denoiser(bent_noise), x_T, process.walk(4), rng));
}
