// Samplers of the probability-flow ODE against its closed forms: on Gaussian data the end point and
// the error of each method by the number of steps, on mixtures the ODE's way of keeping quantiles.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "diffusion/denoiser/thresholding.h"
#include "diffusion/sampling/samplers.h"
#include "tensor/error.h"
#include "tests/oracles/gaussian_data.h"
#include "tests/oracles/gaussian_mixture.h"

using namespace ito;
using oracle::GaussianMixture;
using test::Chain;
using test::exact_denoiser;

namespace {

using Walk = std::vector<Level>;
using Sampler = std::function<Tensor(const Denoiser&, const Tensor& x_T, const Walk&)>;

Sampler of(Tensor (*sample)(const Denoiser&, const Tensor&, std::span<const Level>,
                            const SamplingOptions&)) {
  return [sample](const Denoiser& model, const Tensor& x_T, const Walk& walk) {
    return sample(model, x_T, walk, {});
  };
}

template <typename Options>
Sampler of(Tensor (*sample)(const Denoiser&, const Tensor&, std::span<const Level>, Rng,
                            const Options&)) {
  return [sample](const Denoiser& model, const Tensor& x_T, const Walk& walk) {
    return sample(model, x_T, walk, Rng(1), {});
  };
}

const Sampler ddim = of(sample_ddim), euler = of(sample_euler), heun = of(sample_heun),
              dpmpp_2m = of(sample_dpmpp_2m), unipc = of(sample_unipc);

// The relative error at x_0 for data N(0, 1/4), from sigma = 80 over the N levels of Karras et al.
double error_on_gaussian(const Sampler& sampler, std::int64_t N) {
  const Chain process{NoiseSchedule::karras(N), Prediction::x0};
  const Tensor x_T = Tensor::full({1, 1}, 80.0 * process.schedule.level(N - 1).alpha, DType::f64);
  const Tensor x0 = sampler(exact_denoiser(process, 0.25), x_T, process.walk());
  // Along the ODE x_bar grows as the standard deviation of its marginal, sqrt(1/4 + sigma^2).
  return std::abs(x0.item() / (80.0 * 0.5 / std::sqrt(0.25 + 80.0 * 80.0)) - 1.0);
}

// Wrong on purpose: DPM-Solver++(2M) and Heun's method with the change at the end of a step in the
// place of that in its middle.
Tensor end_point_2m(const Denoiser& model, const Tensor& x_T, const Walk& walk) {
  SamplingLoop loop("end_point_2m", model, x_T, walk, Rng(1));
  const Tensor keep = loop.number([](const SamplingStep& s) { return s.to.sigma / s.from.sigma; });
  const Tensor weight = loop.number([](const SamplingStep& s) {
    return -s.to.alpha * std::expm1(s.from.lambda() - s.to.lambda());
  });
  const Tensor slope = loop.number([](const SamplingStep& s) {
    if (s.before.empty() || s.to.is_clean()) return 0.0;
    return (s.to.lambda() - s.from.lambda()) /  // not half of it
           (s.from.lambda() - s.before.back().lambda());
  });
  Tensor before = Tensor::zeros(x_T.shape(), x_T.dtype());
  return loop.run([&](const Tensor& x) {
    const Tensor x0 = loop.denoise(x).x0;
    const Tensor next = keep * x + weight * (x0 + slope * (x0 - before));
    before.assign(x0);
    return next;
  });
}

Tensor end_point_heun(const Denoiser& model, const Tensor& x_T, const Walk& walk) {
  SamplingLoop loop("end_point_heun", model, x_T, walk, Rng(1));
  const Levels to = loop.level([](const SamplingStep& s) { return s.to; });
  const Tensor alpha = loop.number([](const SamplingStep& s) { return s.to.alpha; });
  const Tensor sigma = loop.number([](const SamplingStep& s) { return s.to.noise_to_signal(); });
  const Tensor step = loop.number([](const SamplingStep& s) {
    return s.to.alpha * (s.to.noise_to_signal() - s.from.noise_to_signal());
  });
  return loop.run(
      [&](const Tensor& x) {
        const Denoised d = loop.denoise(x);
        const Tensor euler_end = alpha * (d.x0 + sigma * d.eps);
        return euler_end + step * (loop.denoise(euler_end, to).eps - d.eps);  // not half of it
      },
      [&](const Tensor& x) { return loop.denoise(x).x0; });
}

// The order of a method between N and 2 N steps.
double order(const std::function<double(std::int64_t)>& error, std::int64_t N) {
  return std::log2(error(N) / error(2 * N));
}

// One-dimensional data for which no method is special.
const GaussianMixture two_humps{{0.7, 0.3}, {{-1.0}, {1.5}}, {{0.09}, {0.25}}};

// P(x <= at): the distribution function of x = alpha x_0 + sigma eps.
double cumulative(const GaussianMixture& data, double at, const Level& level) {
  double p = 0.0;
  for (std::size_t k = 0; k < data.weights.size(); ++k) {
    const double variance =
        level.alpha * level.alpha * data.variances[k][0] + level.sigma * level.sigma;
    const double z = (at - level.alpha * data.means[k][0]) / std::sqrt(variance);
    p += data.weights[k] * 0.5 * std::erfc(-z / std::sqrt(2.0));
  }
  return p;
}

// In one dimension paths of the ODE cannot cross, and it keeps the marginals: so it keeps
// quantiles.
double x0_of_same_quantile(const GaussianMixture& data, double x, const Level& level) {
  const double wanted = cumulative(data, x, level);
  double low = -20.0, high = 20.0;
  for (int i = 0; i < 100; ++i) {
    const double middle = 0.5 * (low + high);
    (cumulative(data, middle, Level::clean()) < wanted ? low : high) = middle;
  }
  return low;
}

// The largest error at x_0 over a few starting points.
double error_on_mixture(const Sampler& sampler, const Walk& walk,
                        Prediction prediction = Prediction::v) {
  const Chain process{NoiseSchedule::linear(1), prediction};  // the walk brings its own levels
  const Level& first = walk.front();
  const double size = std::hypot(first.alpha, first.sigma);
  std::vector<double> starts = {-1.7, -0.8, -0.1, 0.45, 1.1, 2.0};
  for (double& start : starts) start *= size;
  const Tensor x_T = Tensor::from(starts, {6, 1});
  const auto x0 = sampler(exact_denoiser(process, two_humps), x_T, walk).to_vector<double>();
  double worst = 0.0;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    worst = std::max(worst, std::abs(x0[i] - x0_of_same_quantile(two_humps, starts[i], first)));
  }
  return worst;
}

double error_on_mixture(const Sampler& sampler, const NoiseSchedule& schedule, std::int64_t steps,
                        Spacing spacing) {
  return error_on_mixture(sampler, sampling_levels(schedule, steps, spacing));
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

TEST_CASE("ODE samplers: the same functions solve every process, to the order of each method") {
  const struct {
    const char* name;
    Path path;
  } processes[] = {{"vp", Path::vp()},
                   {"sub_vp", Path::sub_vp()},
                   {"ve", Path::ve()},
                   {"edm", Path::edm()},
                   {"rectified_flow", Path::rectified_flow()}};
  const struct {
    const char* name;
    const Sampler& sampler;
    double order;
  } methods[] = {{"euler", euler, 1.0},
                 {"heun", heun, 2.0},
                 {"dpmpp_2m", dpmpp_2m, 2.0},
                 {"unipc", unipc, 3.0}};
  for (const auto& process : processes) {
    CAPTURE(process.name);
    const auto walk = [&](std::int64_t N) {
      return sampling_levels(process.path, N, Spacing::karras);
    };
    for (const auto& method : methods) {
      CAPTURE(method.name);
      const auto error = [&](std::int64_t N) {
        return error_on_mixture(method.sampler, walk(N), Prediction::flow);
      };
      CHECK(order(error, 40) > method.order - 0.35);
      CHECK(error(160) < 3e-2);
    }
    CHECK(error_on_mixture(ddim, walk(40)) != 0.0);
    CHECK(error_on_mixture(ddim, walk(40), Prediction::x0) ==
          doctest::Approx(error_on_mixture(euler, walk(40), Prediction::x0)).epsilon(1e-9));
  }
  // A walk over the levels of another process misses: alpha of one with sigma of another.
  Walk wrong = sampling_levels(Path::sub_vp(), 160, Spacing::karras);
  const Denoiser model = [&](const Tensor& x, const Levels& levels) {
    const Levels variance_preserving{levels.time, levels.alpha, sqrt(1.0 - square(levels.alpha))};
    return exact_denoiser(Chain{NoiseSchedule::linear(1)}, two_humps)(x, variance_preserving);
  };
  const Tensor x_T = Tensor::full({1, 1}, 0.7, DType::f64);
  const double wanted = x0_of_same_quantile(two_humps, 0.7, wrong.front());
  CHECK(std::abs(heun(model, x_T, wrong).item() - wanted) > 3e-2);
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
  const Sampler noisy = [](const Denoiser& model, const Tensor& x_T, const Walk& walk) {
    return sample_ddim(model, x_T, walk, Rng(1), {.eta = 1.0});
  };
  CHECK(error_on_mixture(noisy, schedule, 500, Spacing::even) > 0.3);
}

TEST_CASE("encode_ddim: x_T and back over quadratic timesteps too, with an error of first order") {
  const Chain process{NoiseSchedule::linear()};
  const Denoiser model = exact_denoiser(process, two_humps);
  const Tensor x0 = Tensor::from<double>({-1.2, -0.4, 0.3, 1.6}, {4, 1});
  const auto error = [&](std::int64_t steps, Spacing back) {
    const Tensor x_T = encode_ddim(model, x0, process.walk(steps, Spacing::quadratic));
    return max(abs(ddim(model, x_T, process.walk(steps, back)) - x0)).item();
  };
  CHECK(error(400, Spacing::quadratic) < 0.05);
  CHECK(error(50, Spacing::quadratic) / error(400, Spacing::quadratic) ==
        doctest::Approx(8.0).epsilon(0.3));
  CHECK(error(400, Spacing::even) > 0.1);  // x_T belongs to the level it was made for
}

TEST_CASE("sample_heun: with churn the variance of Gaussian data is kept, on every process") {
  // Every step is x_s = m x_t + sqrt(v) z. Two runs with the same z differ by products of m alone;
  // what m does not explain of one run is sqrt(v) z, and z is known from the generator's contract.
  const Denoiser model = exact_denoiser(Chain{NoiseSchedule::linear(1), Prediction::flow}, 0.25);
  const auto final_variance = [&](const auto& process, HeunOptions options) {
    const Walk walk = sampling_levels(process, 61, Spacing::karras);
    options.level_at = [&](double noise_to_signal) { return process.level_at(noise_to_signal); };
    const auto path_from = [&](double start) {
      std::vector<double> path = {start};
      options.loop.observer = [&](const SampleStep& step) { path.push_back(step.x_next.item()); };
      sample_heun(model, Tensor::full({1, 1}, start, DType::f64), walk, Rng(5), options);
      return path;
    };
    const auto low = path_from(0.0), high = path_from(1e5);
    const Level& first = walk.front();
    double variance = first.alpha * first.alpha * 0.25 + first.sigma * first.sigma;
    for (std::size_t i = 0; i < 61; ++i) {
      Rng rng(5);
      rng.seek(61 - i);  // levels between timesteps: counted by the steps that are left
      const double z = randn(rng, {1, 1}, DType::f64).item();
      const double m = (high[i + 1] - low[i + 1]) / (high[i] - low[i]);
      const double root_v = (low[i + 1] - m * low[i]) / z;
      variance = m * m * variance + root_v * root_v;
    }
    return variance;
  };
  const auto check = [&](const auto& process) {
    CHECK(final_variance(process, {}) == doctest::Approx(0.25).epsilon(0.03));
    CHECK(final_variance(process, {.churn = 30.0}) == doctest::Approx(0.25).epsilon(0.03));
    CHECK(final_variance(process, {.churn = 30.0, .churn_min = 0.1, .churn_max = 10.0}) ==
          doctest::Approx(0.25).epsilon(0.03));
    // Raised levels without the noise that belongs to them, and with too much.
    CHECK(final_variance(process, {.churn = 30.0, .churn_noise = 0.0}) < 0.2);
    CHECK(final_variance(process, {.churn = 30.0, .churn_noise = 1.2}) > 0.3);
  };
  check(NoiseSchedule::linear());
  check(Path::ve());
  check(Path::sub_vp());
  check(Path::rectified_flow());
}

TEST_CASE("sample_heun: churn raises each step to the level of the paper, exactly") {
  const NoiseSchedule schedule = NoiseSchedule::linear();
  const Denoiser exact = exact_denoiser(Chain{schedule}, 0.25);
  std::vector<double> seen;  // sigma / alpha of every evaluation
  const Denoiser watched = [&](const Tensor& x, const Levels& levels) {
    seen.push_back(levels.sigma.item() / levels.alpha.item());
    return exact(x, levels);
  };
  const Walk walk = sampling_levels(schedule, 12, Spacing::karras);
  HeunOptions options{.churn = 2.4};  // gamma = 0.2
  options.level_at = [&](double r) { return schedule.level_at(r); };
  sample_heun(watched, Tensor::full({1, 1}, 0.5, DType::f64), walk, Rng(1), options);
  REQUIRE(seen.size() == 23);
  for (std::size_t i = 1; i < 12; ++i) {  // the first is at the end of the schedule
    CHECK(seen[2 * i] == doctest::Approx(1.2 * walk[i].noise_to_signal()).epsilon(1e-12));
  }
}

TEST_CASE("sample_heun: churn is random where it is asked for only") {
  const Chain process{NoiseSchedule::linear()};
  const Denoiser model = exact_denoiser(process, 0.25);
  const Tensor x_T = Tensor::full({2, 3}, 0.5, DType::f64);
  const Walk walk = process.walk(18, Spacing::karras);
  const auto sample = [&](HeunOptions options, std::uint64_t seed) {
    options.level_at = [&](double r) { return process.schedule.level_at(r); };
    return sample_heun(model, x_T, walk, Rng(seed), options);
  };
  const auto change = [&](const HeunOptions& options) {
    return max(abs(sample(options, 1) - sample(options, 2))).item();
  };
  CHECK(change({}) == 0.0);
  CHECK(change({.churn = 5.0}) > 1e-2);
  CHECK(change({.churn = 5.0, .churn_min = 500.0}) == 0.0);
  CHECK(change({.churn = 5.0, .churn_max = 0.001}) == 0.0);
  for (const HeunOptions& wrong :
       {HeunOptions{.churn = -1.0}, HeunOptions{.churn = std::nan("")},
        HeunOptions{.churn_min = -1.0}, HeunOptions{.churn_noise = -1.0}}) {
    CHECK_THROWS_AS(sample(wrong, 1), ValueError);
  }
  CHECK_THROWS_AS(sample_heun(model, x_T, walk, Rng(1), {.churn = 5.0}), ValueError);
}

TEST_CASE("ODE samplers: the network is evaluated as often as is said") {
  const Chain process{NoiseSchedule::linear()};
  const Tensor x_T = Tensor::full({1, 1}, 0.5, DType::f64);
  const auto evaluations = [&](const Sampler& sampler, std::int64_t steps) {
    int calls = 0;
    const Denoiser exact = exact_denoiser(process, 0.25);
    const Denoiser counted = [&](const Tensor& x, const Levels& at) {
      return ++calls, exact(x, at);
    };
    sampler(counted, x_T, process.walk(steps, Spacing::karras));
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
  REQUIRE(std::isinf(schedule.level(999).noise_to_signal()));
  const Chain process{schedule, Prediction::v};
  const Tensor x_T = Tensor::full({1, 1}, 0.8, DType::f64);
  // N(0, 1) goes over into N(0, 1/4) by a factor of a half.
  for (const Sampler& sampler : {ddim, euler, heun, dpmpp_2m, unipc}) {
    const Tensor x0 = sampler(exact_denoiser(process, 0.25), x_T, process.walk(999));
    CHECK(x0.item() == doctest::Approx(0.4).epsilon(0.01));
  }
}

TEST_CASE("ODE samplers: batches and parametrisations do not matter") {
  Rng rng(21, Purpose::sample);
  const Tensor x_T = randn(rng, {5, 1}, DType::f64);
  for (const Sampler& sampler : {euler, heun, dpmpp_2m, unipc}) {
    std::vector<Tensor> results;
    for (const auto prediction : {Prediction::epsilon, Prediction::x0, Prediction::v}) {
      const Chain process{NoiseSchedule::linear(), prediction};
      const Denoiser model = exact_denoiser(process, two_humps);
      const Walk walk = process.walk(9, Spacing::karras);
      results.push_back(sampler(model, x_T, walk));
      const Tensor first = sampler(model, slice(x_T, 0, 0, 2), walk);
      CHECK(max(abs(first - slice(results.back(), 0, 0, 2))).item() == 0.0);
    }
    CHECK(max(abs(results[1] - results[0])).item() < 1e-11);
    CHECK(max(abs(results[2] - results[0])).item() < 1e-11);
  }
}

TEST_CASE("ODE samplers: the observer sees each step once, and limited estimates of x_0") {
  const Chain process{NoiseSchedule::linear()};
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
  const Denoiser limited = thresholded(model, clip_x0);
  const Walk walk = process.walk(6, Spacing::karras);
  for (const auto sample : {sample_euler, sample_dpmpp_2m, sample_unipc}) {
    calls = 0;
    sample(limited, x_T, walk, {.observer = observer});
    CHECK(calls == 6);
  }
  calls = 0;
  sample_heun(limited, x_T, walk, Rng(1), {.loop = {.observer = observer}});
  CHECK(calls == 6);
}
