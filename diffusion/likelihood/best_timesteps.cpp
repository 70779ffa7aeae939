#include "diffusion/likelihood/best_timesteps.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "diffusion/process/reverse_variance.h"
#include "tensor/error.h"

namespace ito {
namespace {

void expect_one_per_timestep(const NoiseSchedule& schedule, const std::vector<double>& m) {
  if (std::ssize(m) == schedule.timesteps()) return;
  fail<ValueError>(
      "best_timesteps: mean_squared_eps must have {} numbers, one per timestep; got {}",
      schedule.timesteps(), m.size());
}

// E[KL] of the step from t to s: log(sigma^2 / beta_tilde) / 2.
double cost_of_step(const NoiseSchedule& schedule, const std::vector<double>& mean_squared_eps,
                    std::int64_t t, std::int64_t s) {
  const double m = mean_squared_eps[static_cast<std::size_t>(t)];
  const PosteriorStep q = posterior_step(schedule.level(t), schedule.level(s));
  return 0.5 *
         std::log1p(q.weight_x0 * q.weight_x0 * variance_of_x0(schedule.level(t), m) / q.variance);
}

}  // namespace

std::vector<std::int64_t> best_timesteps(const NoiseSchedule& schedule,
                                         const std::vector<double>& mean_squared_eps,
                                         std::int64_t steps) {
  const std::int64_t T = schedule.timesteps();
  expect_one_per_timestep(schedule, mean_squared_eps);
  if (steps < 2 || steps > T) {
    fail<ValueError>("best_timesteps: steps must be between 2 and {}; got {}", T, steps);
  }
  const auto n = static_cast<std::size_t>(T);
  std::vector<std::vector<double>> step_cost(n);  // [t][s], s < t
  for (std::size_t t = 1; t < n; ++t) {
    for (std::size_t s = 0; s < t; ++s) {
      step_cost[t].push_back(cost_of_step(schedule, mean_squared_eps, static_cast<std::int64_t>(t),
                                          static_cast<std::int64_t>(s)));
    }
  }

  // best[t]: the least cost of a chain of k timesteps from t down to 0; before[k][t]: where it
  // goes.
  std::vector<double> best(n, std::numeric_limits<double>::infinity());
  best[0] = 0.0;
  std::vector<std::vector<std::size_t>> before(static_cast<std::size_t>(steps));
  for (std::size_t k = 1; k < before.size(); ++k) {
    before[k].assign(n, 0);
    std::vector<double> longer(n, std::numeric_limits<double>::infinity());
    for (std::size_t t = 1; t < n; ++t) {
      for (std::size_t s = 0; s < t; ++s) {
        const double cost = best[s] + step_cost[t][s];
        if (cost >= longer[t]) continue;
        longer[t] = cost;
        before[k][t] = s;
      }
    }
    best = longer;
  }
  std::vector<std::int64_t> visited = {T - 1};
  for (std::size_t k = before.size() - 1; k > 0; --k) {
    visited.push_back(
        static_cast<std::int64_t>(before[k][static_cast<std::size_t>(visited.back())]));
  }
  std::reverse(visited.begin(), visited.end());
  return visited;
}

double cost_of_timesteps(const NoiseSchedule& schedule, const std::vector<double>& mean_squared_eps,
                         const std::vector<std::int64_t>& visited) {
  expect_one_per_timestep(schedule, mean_squared_eps);
  double cost = 0.0;
  for (std::size_t i = 1; i < visited.size(); ++i) {
    cost += cost_of_step(schedule, mean_squared_eps, visited[i], visited[i - 1]);
  }
  return cost;
}

}  // namespace ito
