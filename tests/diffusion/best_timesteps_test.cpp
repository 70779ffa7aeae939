// The best chain of few steps against all chains there are, and against Gaussian data, for which
// every chain is as good.
#include "diffusion/likelihood/best_timesteps.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>

#include "diffusion/likelihood/analytic_variance.h"
#include "diffusion/likelihood/variational_bound.h"
#include "diffusion/sampling/spacing.h"
#include "tensor/error.h"
#include "tests/oracles/gaussian_data.h"
#include "tests/oracles/gaussian_mixture.h"

using namespace ito;
using test::Chain;

namespace {

// E[eps_hat^2] of Gaussian data of variance s2, changed a little at each timestep.
std::vector<double> bumpy(const NoiseSchedule& schedule) {
  std::vector<double> m;
  for (std::int64_t t = 0; t < schedule.timesteps(); ++t) {
    const double of_gaussian =
        schedule.one_minus_alpha_bar(t) / test::marginal_variance(schedule.alpha_bar(t), 0.25);
    m.push_back(of_gaussian * (1.0 - 0.3 * std::abs(std::sin(2.0 * double(t)))));
  }
  return m;
}

}  // namespace

TEST_CASE("best_timesteps: no chain of that length has a smaller bound") {
  const NoiseSchedule schedule = NoiseSchedule::linear(14, 0.01, 0.5);
  const std::vector<double> m = bumpy(schedule);
  for (const std::int64_t steps : {2, 3, 5, 9, 14}) {
    double least = INFINITY;
    for (unsigned inner = 0; inner < 1U << 12; ++inner) {  // which of 1 .. 12 are visited
      if (std::popcount(inner) != static_cast<int>(steps) - 2) continue;
      std::vector<std::int64_t> visited = {0};
      for (std::int64_t t = 1; t < 13; ++t) {
        if ((inner >> (t - 1)) & 1U) visited.push_back(t);
      }
      visited.push_back(13);
      least = std::min(least, cost_of_timesteps(schedule, m, visited));
    }
    const auto best = best_timesteps(schedule, m, steps);
    CHECK(std::ssize(best) == steps);
    CHECK(best.front() == 0);
    CHECK(best.back() == 13);
    CHECK(cost_of_timesteps(schedule, m, best) == doctest::Approx(least).epsilon(1e-13));
    if (steps == 5) CHECK(cost_of_timesteps(schedule, m, visited_timesteps(14, 5)) > least);
  }
}

TEST_CASE("best_timesteps: on Gaussian data every chain costs the same") {
  const NoiseSchedule schedule = NoiseSchedule::linear(60, 0.001, 0.3);
  std::vector<double> m;
  for (std::int64_t t = 0; t < 60; ++t) {
    m.push_back(schedule.one_minus_alpha_bar(t) /
                test::marginal_variance(schedule.alpha_bar(t), 0.25));
  }
  const double direct = cost_of_timesteps(schedule, m, {0, 59});
  for (const std::vector<std::int64_t>& visited :
       {visited_timesteps(60, 60), visited_timesteps(60, 7), {0, 1, 2, 58, 59}}) {
    CHECK(cost_of_timesteps(schedule, m, visited) == doctest::Approx(direct).epsilon(1e-12));
  }
  m[30] *= 0.9;  // and not when one timestep is worse
  CHECK(cost_of_timesteps(schedule, m, {0, 30, 59}) > direct + 1e-3);
}

TEST_CASE("best_timesteps: the cost is the bound's, and the best chain has less of it") {
  const Chain process{NoiseSchedule::linear(100, 0.001, 0.2)};
  const oracle::GaussianMixture data{{.3, .4, .3}, {{-.8}, {.1}, {.7}}, {{.001}, {.002}, {.001}}};
  const Denoiser model = oracle::exact_denoiser(process, data);
  Rng rng(1, Purpose::test);
  const Tensor x0 = data.draw(rng, 4000);
  const std::vector<double> m = explained_noise(model, x0, process.schedule.levels(), rng);
  const auto bound_of = [&](const std::vector<std::int64_t>& visited) {
    std::vector<double> of_chain;
    for (const std::int64_t t : visited) of_chain.push_back(m[static_cast<std::size_t>(t)]);
    const VariationalBound bound(process.schedule.respaced(visited),
                                 {.variance = ReverseVariance::analytic,
                                  .decoder = DiscretizedLikelihood::continuous,
                                  .mean_squared_eps = of_chain},
                                 DType::f64);
    const BoundTable table = bound.evaluate(model, x0, rng);
    return table.total() - table.prior - table.nats[0];
  };
  const auto even = visited_timesteps(100, 8);
  const auto best = best_timesteps(process.schedule, m, 8);
  MESSAGE("bound of 8 steps: even ", bound_of(even), ", best ", bound_of(best));
  CHECK(bound_of(even) ==
        doctest::Approx(cost_of_timesteps(process.schedule, m, even)).epsilon(0.05));
  CHECK(bound_of(best) < bound_of(even) - 0.01);
}

TEST_CASE("best_timesteps: what does not fit is refused") {
  const NoiseSchedule schedule = NoiseSchedule::linear(10);
  const std::vector<double> m(10, 0.5), few(9, 0.5);
  CHECK_THROWS_AS(best_timesteps(schedule, m, 1), ValueError);
  CHECK_THROWS_AS(best_timesteps(schedule, m, 11), ValueError);
  CHECK_THROWS_AS(best_timesteps(schedule, few, 5), ValueError);
  CHECK_THROWS_AS(cost_of_timesteps(schedule, few, {0, 9}), ValueError);
}
