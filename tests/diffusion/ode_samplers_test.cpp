// Samplers of the probability-flow ODE against its closed forms: on Gaussian data the end point and
// the error of each method by the number of steps, on mixtures the ODE's way of keeping quantiles.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "diffusion/sampling/samplers.h"
#include "tensor/error.h"
#include "tests/oracles/gaussian_data.h"
#include "tests/oracles/gaussian_mixture.h"

using namespace ito;
using oracle::GaussianMixture;
using test::exact_denoiser;

namespace {

using Sampler = std::function<Tensor(const GaussianDiffusion&, const Denoiser&, const Tensor& x_T,
                                     std::int64_t steps, Spacing)>;

template <typename Options>
Sampler with(Tensor (*sample)(const GaussianDiffusion&, const Denoiser&, const Tensor&, Rng,
                              const Options&)) {
  return [sample](const auto& process, const auto& model, const Tensor& x_T, std::int64_t steps,
                  Spacing spacing) {
    return sample(process, model, x_T, Rng(1), {.steps = steps, .spacing = spacing});
  };
}

const Sampler ddim = with(sample_ddim), euler = with(sample_euler), heun = with(sample_heun),
              dpmpp_2m = with(sample_dpmpp_2m), unipc = with(sample_unipc);

// The relative error at x_0 for data N(0, 1/4), from sigma = 80 over the N levels of Karras et al.
double error_on_gaussian(const Sampler& sampler, std::int64_t N) {
  const GaussianDiffusion process{NoiseSchedule::karras(N), Prediction::x0};
  const Tensor x_T =
      Tensor::full({1, 1}, 80.0 * process.schedule.sqrt_alpha_bar(N - 1), DType::f64);
  const Tensor x0 = sampler(process, exact_denoiser(process, 0.25), x_T, N, Spacing::even);
  // Along the ODE x_bar grows as the standard deviation of its marginal, sqrt(1/4 + sigma^2).
  return std::abs(x0.item() / (80.0 * 0.5 / std::sqrt(0.25 + 80.0 * 80.0)) - 1.0);
}

// Wrong on purpose: DPM-Solver++(2M) and Heun's method with the change at the end of a step in the
// place of that in its middle.
Tensor end_point_2m(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                    std::int64_t steps, Spacing spacing) {
  const NoiseSchedule& schedule = process.schedule;
  SamplingLoop loop("end_point_2m", process, model, x_T,
                    falling_to_x0(visited_timesteps(schedule, steps, spacing)), Rng(1));
  const Tensor keep = loop.number([&](const StepTimes& at) {
    return schedule.sqrt_one_minus_alpha_bar(at.s) / schedule.sqrt_one_minus_alpha_bar(at.t);
  });
  const Tensor weight = loop.number([&](const StepTimes& at) {
    return -schedule.sqrt_alpha_bar(at.s) *
           std::expm1(schedule.lambda(at.t) - schedule.lambda(at.s));
  });
  const Tensor slope = loop.number([&](const StepTimes& at) {
    if (at.before.empty() || at.s == -1) return 0.0;
    return (schedule.lambda(at.s) - schedule.lambda(at.t)) /  // not half of it
           (schedule.lambda(at.t) - schedule.lambda(at.before.back()));
  });
  Tensor before = Tensor::zeros(x_T.shape(), x_T.dtype());
  return loop.run([&](const Tensor& x_t) {
    const Tensor x0 = loop.denoise(x_t).x0;
    const Tensor next = keep * x_t + weight * (x0 + slope * (x0 - before));
    before.assign(x0);
    return next;
  });
}

Tensor end_point_heun(const GaussianDiffusion& process, const Denoiser& model, const Tensor& x_T,
                      std::int64_t steps, Spacing spacing) {
  const NoiseSchedule& schedule = process.schedule;
  SamplingLoop loop("end_point_heun", process, model, x_T,
                    falling_to_x0(visited_timesteps(schedule, steps, spacing)), Rng(1));
  const Tensor t_s =
      loop.timestep([](const StepTimes& at) { return std::max<std::int64_t>(at.s, 0); });
  const Tensor alpha =
      loop.number([&](const StepTimes& at) { return schedule.sqrt_alpha_bar(at.s); });
  const Tensor sigma = loop.number([&](const StepTimes& at) { return schedule.sigma(at.s); });
  const Tensor step = loop.number([&](const StepTimes& at) {
    return schedule.sqrt_alpha_bar(at.s) * (schedule.sigma(at.s) - schedule.sigma(at.t));
  });
  return loop.run(
      [&](const Tensor& x_t) {
        const Denoised d = loop.denoise(x_t);
        const Tensor euler_end = alpha * (d.x0 + sigma * d.eps);
        return euler_end + step * (loop.denoise(euler_end, t_s).eps - d.eps);  // not half of it
      },
      [&](const Tensor& x_t) { return loop.denoise(x_t).x0; });
}

// The order of a method between N and 2 N steps.
double order(const std::function<double(std::int64_t)>& error, std::int64_t N) {
  return std::log2(error(N) / error(2 * N));
}

// One-dimensional data for which no method is special.
const GaussianMixture two_humps{{0.7, 0.3}, {{-1.0}, {1.5}}, {{0.09}, {0.25}}};

// P(x_t <= x): the distribution function of a mixture at level alpha, sigma.
double cumulative(const GaussianMixture& data, double x, double alpha_bar) {
  double p = 0.0;
  for (std::size_t k = 0; k < data.weights.size(); ++k) {
    const double variance = alpha_bar * data.variances[k][0] + 1.0 - alpha_bar;
    const double z = (x - std::sqrt(alpha_bar) * data.means[k][0]) / std::sqrt(variance);
    p += data.weights[k] * 0.5 * std::erfc(-z / std::sqrt(2.0));
  }
  return p;
}

// In one dimension paths of the ODE cannot cross, and it keeps the marginals: so it keeps quantiles.
double x0_of_same_quantile(const GaussianMixture& data, double x, double alpha_bar) {
  const double wanted = cumulative(data, x, alpha_bar);
  double low = -20.0, high = 20.0;
  for (int i = 0; i < 100; ++i) {
    const double middle = 0.5 * (low + high);
    (cumulative(data, middle, 1.0) < wanted ? low : high) = middle;
  }
  return low;
}

// The largest error at x_0 over a few starting points.
double error_on_mixture(const Sampler& sampler, const NoiseSchedule& schedule, std::int64_t steps,
                        Spacing spacing) {
  const GaussianDiffusion process{schedule, Prediction::v};
  const std::int64_t first = visited_timesteps(schedule, steps, spacing).back();
  const std::vector<double> starts = {-1.7, -0.8, -0.1, 0.45, 1.1, 2.0};
  const Tensor x_T = Tensor::from(starts, {6, 1});
  const auto x0 =
      sampler(process, exact_denoiser(process, two_humps), x_T, steps, spacing).to_vector<double>();
  double worst = 0.0;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const double wanted = x0_of_same_quantile(two_humps, starts[i], schedule.alpha_bar(first));
    worst = std::max(worst, std::abs(x0[i] - wanted));
  }
  return worst;
}

}  // namespace

TEST_CASE("ODE samplers: the error on Gaussian data is that of each method, and so its order") {
  // From a separate program in double precision, in the coordinates and with the formulas of the
  // papers (UniPC: its general systems of linear equations).
  const struct {
    const char* name;
    const Sampler& sampler;
    double order, error[6];
  } methods[] = {
      {"euler",
       euler,
       1.0,
       {0.269559604, 0.138907427, 0.070280293, 0.0353403204, 0.0177220379, 0.00887684368}},
      {"ddim",
       ddim,
       1.0,
       {0.269559604, 0.138907427, 0.070280293, 0.0353403204, 0.0177220379, 0.00887684368}},
      {"heun",
       heun,
       2.0,
       {0.219619822, 0.0436674681, 0.00977345087, 0.00231020382, 5.56543534e-4, 1.31313599e-4}},
      {"dpmpp_2m",
       dpmpp_2m,
       2.0,
       {0.158795947, 0.049258244, 0.0104045837, 0.00237966423, 5.64609262e-4, 1.32268315e-4}},
      {"unipc",
       unipc,
       3.0,
       {0.189890303, 0.0342330434, 0.00377160516, 4.3617094e-4, 4.57252793e-5, 1.39838733e-6}},
  };
  for (const auto& method : methods) {
    CAPTURE(method.name);
    for (int i = 0; i < 6; ++i) {
      // The last step, from sigma = 0.002, has an error of 8e-6 at any N; that is what is left of
      // UniPC's at 320.
      CHECK(error_on_gaussian(method.sampler, 10 << i) ==
            doctest::Approx(method.error[i]).epsilon(1e-6));
    }
    CHECK(std::abs(std::log2(method.error[2] / method.error[3]) - method.order) < 0.15);
  }
}

TEST_CASE("ODE samplers: a method with a wrong weight loses its order") {
  for (const Sampler& wrong : {Sampler(end_point_2m), Sampler(end_point_heun)}) {
    const auto error = [&](std::int64_t N) { return error_on_gaussian(wrong, N); };
    CHECK(order(error, 80) < 1.3);
    CHECK(error(80) > 3.0 * error_on_gaussian(heun, 80));
  }
}

TEST_CASE("ODE samplers: they keep the quantiles of a mixture, to the order of each method") {
  const struct {
    const char* name;
    const Sampler& sampler;
    double order;
  } methods[] = {{"euler", euler, 1.0},
                 {"heun", heun, 2.0},
                 {"dpmpp_2m", dpmpp_2m, 2.0},
                 {"unipc", unipc, 3.0}};
  for (const auto& method : methods) {
    CAPTURE(method.name);
    const auto error = [&method](std::int64_t N) {
      return error_on_mixture(method.sampler, NoiseSchedule::karras(N), N, Spacing::even);
    };
    CHECK(order(error, 40) > method.order - 0.25);
    CHECK(error(160) < 3e-2);
  }
}

TEST_CASE("ODE samplers: on the schedules of networks 20 steps of a higher order are closer") {
  for (const auto& schedule : {NoiseSchedule::linear(), NoiseSchedule::cosine()}) {
    for (const auto spacing : {Spacing::karras, Spacing::log_snr}) {
      const auto error = [&](const Sampler& sampler) {
        return error_on_mixture(sampler, schedule, 20, spacing);
      };
      CHECK(error(euler) == doctest::Approx(error(ddim)).epsilon(1e-9));
      CHECK(error(heun) < 0.4 * error(ddim));
      CHECK(error(dpmpp_2m) < 0.5 * error(ddim));
      CHECK(error(unipc) < 0.6 * error(dpmpp_2m));
    }
  }
}

TEST_CASE("ODE samplers: one x_T is one image, whatever the number of steps") {
  const NoiseSchedule schedule = NoiseSchedule::linear();
  for (const auto spacing : {Spacing::even, Spacing::quadratic}) {
    const auto error = [&](std::int64_t steps) {
      return error_on_mixture(ddim, schedule, steps, spacing);
    };
    CHECK(error(500) < 0.01);
    CHECK(error(50) / error(500) == doctest::Approx(10.0).epsilon(0.25));
  }
  // With fresh noise on the way it is another.
  const Sampler noisy = [](const auto& process, const auto& model, const Tensor& x_T,
                           std::int64_t steps, Spacing spacing) {
    return sample_ddim(process, model, x_T, Rng(1),
                       {.steps = steps, .spacing = spacing, .eta = 1.0});
  };
  CHECK(error_on_mixture(noisy, schedule, 500, Spacing::even) > 0.3);
}

TEST_CASE("encode_ddim: x_T and back over quadratic timesteps too, with an error of first order") {
  const GaussianDiffusion process{NoiseSchedule::linear()};
  const Denoiser model = exact_denoiser(process, two_humps);
  const Tensor x0 = Tensor::from<double>({-1.2, -0.4, 0.3, 1.6}, {4, 1});
  const auto error = [&](std::int64_t steps, Spacing back) {
    const Tensor x_T = encode_ddim(process, model, x0, steps, true, Spacing::quadratic);
    return max(abs(ddim(process, model, x_T, steps, back) - x0)).item();
  };
  CHECK(error(400, Spacing::quadratic) < 0.05);
  CHECK(error(50, Spacing::quadratic) / error(400, Spacing::quadratic) ==
        doctest::Approx(8.0).epsilon(0.3));
  CHECK(error(400, Spacing::even) > 0.1);  // x_T belongs to the level it was made for
}

TEST_CASE("sample_heun: with churn the variance of Gaussian data is kept") {
  // Every step is x_s = m x_t + sqrt(v) z. Two runs with the same z differ by products of m alone;
  // what m does not explain of one run is sqrt(v) z, and z is known from the generator's contract.
  const GaussianDiffusion process{NoiseSchedule::linear()};
  const Denoiser model = exact_denoiser(process, 0.25);
  const auto final_variance = [&](HeunOptions options) {
    options.steps = 60;
    std::vector<std::int64_t> t;
    const auto path_from = [&](double start) {
      std::vector<double> path = {start};
      t.clear();
      options.observer = [&](const SampleStep& step) {
        path.push_back(step.x_next.item());
        t.push_back(step.t);
      };
      sample_heun(process, model, Tensor::full({1, 1}, start, DType::f64), Rng(5), options);
      return path;
    };
    const auto low = path_from(0.0), high = path_from(1e5);
    double variance = 1.0;
    for (std::size_t i = 0; i < t.size(); ++i) {
      Rng rng(5);
      rng.seek(static_cast<std::uint64_t>(t[i]) + 1);
      const double z = randn(rng, {1, 1}, DType::f64).item();
      const double m = (high[i + 1] - low[i + 1]) / (high[i] - low[i]);
      const double root_v = (low[i + 1] - m * low[i]) / z;
      variance = m * m * variance + root_v * root_v;
    }
    return variance;
  };
  CHECK(final_variance({}) == doctest::Approx(0.25).epsilon(0.03));
  CHECK(final_variance({.churn = 30.0}) == doctest::Approx(0.25).epsilon(0.03));
  CHECK(final_variance({.churn = 30.0, .churn_above = 0.1, .churn_below = 10.0}) ==
        doctest::Approx(0.25).epsilon(0.03));
  // Raised levels without the noise that belongs to them, and with too much.
  CHECK(final_variance({.churn = 30.0, .churn_noise = 0.0}) < 0.2);
  CHECK(final_variance({.churn = 30.0, .churn_noise = 1.2}) > 0.3);
}

TEST_CASE("sample_heun: churn is random where it is asked for only") {
  const GaussianDiffusion process{NoiseSchedule::linear()};
  const Denoiser model = exact_denoiser(process, 0.25);
  const Tensor x_T = Tensor::full({2, 3}, 0.5, DType::f64);
  const auto change = [&](const HeunOptions& options) {
    return max(abs(sample_heun(process, model, x_T, Rng(1), options) -
                   sample_heun(process, model, x_T, Rng(2), options)))
        .item();
  };
  CHECK(change({}) == 0.0);
  CHECK(change({.churn = 5.0}) > 1e-2);
  CHECK(change({.churn = 5.0, .churn_above = 500.0}) == 0.0);
  CHECK(change({.churn = 5.0, .churn_below = 0.001}) == 0.0);
  for (const HeunOptions& wrong :
       {HeunOptions{.churn = -1.0}, HeunOptions{.churn = std::nan("")},
        HeunOptions{.churn_above = -1.0}, HeunOptions{.churn_noise = -1.0}}) {
    CHECK_THROWS_AS(sample_heun(process, model, x_T, Rng(1), wrong), ValueError);
  }
}

TEST_CASE("ODE samplers: the network is evaluated as often as is said") {
  const GaussianDiffusion process{NoiseSchedule::linear()};
  const Tensor x_T = Tensor::full({1, 1}, 0.5, DType::f64);
  const auto evaluations = [&](const Sampler& sampler, std::int64_t steps) {
    int calls = 0;
    const Denoiser exact = exact_denoiser(process, 0.25);
    const Denoiser counted = [&](const Tensor& x, const Tensor& t) { return ++calls, exact(x, t); };
    sampler(process, counted, x_T, steps, Spacing::karras);
    return calls;
  };
  for (const Sampler& sampler : {ddim, euler, dpmpp_2m, unipc}) {
    CHECK(evaluations(sampler, 1) == 1);
    CHECK(evaluations(sampler, 12) == 12);
  }
  CHECK(evaluations(heun, 1) == 1);
  CHECK(evaluations(heun, 12) == 23);
}

TEST_CASE("ODE samplers: start from pure noise where the schedule leaves no signal at all") {
  const NoiseSchedule schedule = NoiseSchedule::linear().with_zero_terminal_snr();
  REQUIRE(std::isinf(schedule.sigma(999)));
  const GaussianDiffusion process{schedule, Prediction::v};
  const Tensor x_T = Tensor::full({1, 1}, 0.8, DType::f64);
  // N(0, 1) goes over into N(0, 1/4) by a factor of a half.
  for (const Sampler& sampler : {ddim, euler, heun, dpmpp_2m, unipc}) {
    const Tensor x0 = sampler(process, exact_denoiser(process, 0.25), x_T, 999, Spacing::even);
    CHECK(x0.item() == doctest::Approx(0.4).epsilon(0.01));
  }
}

TEST_CASE("ODE samplers: batches and parametrisations do not matter") {
  Rng rng(21, Purpose::sample);
  const Tensor x_T = randn(rng, {5, 1}, DType::f64);
  for (const Sampler& sampler : {euler, heun, dpmpp_2m, unipc}) {
    std::vector<Tensor> results;
    for (const auto prediction : {Prediction::epsilon, Prediction::x0, Prediction::v}) {
      const GaussianDiffusion process{NoiseSchedule::linear(), prediction};
      const Denoiser model = exact_denoiser(process, two_humps);
      results.push_back(sampler(process, model, x_T, 9, Spacing::karras));
      const Tensor first = sampler(process, model, slice(x_T, 0, 0, 2), 9, Spacing::karras);
      CHECK(max(abs(first - slice(results.back(), 0, 0, 2))).item() == 0.0);
    }
    CHECK(max(abs(results[1] - results[0])).item() < 1e-11);
    CHECK(max(abs(results[2] - results[0])).item() < 1e-11);
  }
}

TEST_CASE("ODE samplers: the observer sees each step once, and limited estimates of x_0") {
  const GaussianDiffusion process{NoiseSchedule::linear()};
  const Denoiser model = exact_denoiser(process, GaussianMixture::gaussian(0.0, 4.0));
  const Tensor x_T = Tensor::full({2, 1}, 2.0, DType::f64);
  std::int64_t calls = 0;
  const Observer observer = [&](const SampleStep& step) {
    CHECK(step.step == ++calls);
    CHECK(step.steps == 6);
    CHECK(max(abs(step.x0)).item() <= 1.0);
    if (step.step < step.steps) return;
    CHECK(max(abs(step.x0)).item() == 1.0);  // 2 without the limit
    CHECK(max(abs(step.x0 - step.x_next)).item() < 1e-12);
  };
  const OdeOptions options{.steps = 6, .limit_x0 = clip_x0, .observer = observer};
  for (const auto sample : {sample_euler, sample_dpmpp_2m, sample_unipc}) {
    calls = 0;
    sample(process, model, x_T, Rng(1), options);
    CHECK(calls == 6);
  }
  calls = 0;
  sample_heun(process, model, x_T, Rng(1), {.steps = 6, .limit_x0 = clip_x0, .observer = observer});
  CHECK(calls == 6);
}
