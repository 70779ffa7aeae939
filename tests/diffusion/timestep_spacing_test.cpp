#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "diffusion/sampling/spacing.h"
#include "tensor/error.h"

using namespace ito;
using V = std::vector<std::int64_t>;

namespace {

constexpr Spacing all_spacings[] = {Spacing::even, Spacing::quadratic, Spacing::karras,
                                    Spacing::log_snr};

}  // namespace

TEST_CASE("spacing: even timesteps visit both ends, and their gaps differ by at most one") {
  CHECK(evenly_spaced_timesteps(1000, 1) == V{999});
  CHECK(evenly_spaced_timesteps(1000, 2) == V{0, 999});
  CHECK(evenly_spaced_timesteps(1000, 4) == V{0, 333, 666, 999});
  CHECK(evenly_spaced_timesteps(10, 4) == V{0, 3, 6, 9});
  CHECK(evenly_spaced_timesteps(4, 4) == V{0, 1, 2, 3});
  CHECK(evenly_spaced_timesteps(1, 1) == V{0});
  for (std::int64_t steps = 2; steps <= 1000; ++steps) {
    const V t = evenly_spaced_timesteps(1000, steps);
    REQUIRE(static_cast<std::int64_t>(t.size()) == steps);
    REQUIRE(t.front() == 0);
    REQUIRE(t.back() == 999);
    std::int64_t shortest = 1000, longest = 0;
    for (std::size_t i = 1; i < t.size(); ++i) {
      shortest = std::min(shortest, t[i] - t[i - 1]);
      longest = std::max(longest, t[i] - t[i - 1]);
    }
    REQUIRE(shortest >= 1);
    REQUIRE(longest - shortest <= 1);
  }
  CHECK_THROWS_AS(evenly_spaced_timesteps(10, 0), ValueError);
  CHECK_THROWS_AS(evenly_spaced_timesteps(10, 11), ValueError);
}

TEST_CASE("spacing: quadratic timesteps are the squares up to 0.8 T, rounded down") {
  const NoiseSchedule schedule = NoiseSchedule::linear();
  CHECK(visited_timesteps(schedule, 5, Spacing::quadratic) == V{0, 50, 200, 450, 800});
  CHECK(visited_timesteps(schedule, 10, Spacing::quadratic) ==
        V{0, 9, 39, 88, 158, 246, 355, 483, 632, 800});
  CHECK(visited_timesteps(schedule, 1, Spacing::quadratic) == V{800});
  // 0, .33, 1.3, 3, 5.3: the second is not the first again.
  const V fifty = visited_timesteps(schedule, 50, Spacing::quadratic);
  CHECK(V(fifty.begin(), fifty.begin() + 5) == V{0, 1, 2, 3, 5});
}

TEST_CASE("spacing: karras and log-snr choose the timesteps nearest to their levels") {
  for (const auto& schedule : {NoiseSchedule::linear(), NoiseSchedule::cosine()}) {
    const double low = schedule.sigma(0), high = 80.0;
    for (const auto spacing : {Spacing::karras, Spacing::log_snr}) {
      const V visited = visited_timesteps(schedule, 18, spacing);
      for (std::size_t i = 0; i < 18; ++i) {
        const double u = static_cast<double>(i) / 17.0;
        const double level =
            spacing == Spacing::karras
                ? std::pow(std::pow(low, 1.0 / 7.0) * (1.0 - u) + std::pow(high, 1.0 / 7.0) * u,
                           7.0)
                : std::exp(std::log(low) * (1.0 - u) + std::log(high) * u);
        std::int64_t nearest = 0;
        for (std::int64_t t = 1; t < 1000; ++t) {
          const auto distance = [&](std::int64_t k) {
            return std::abs(std::log(schedule.sigma(k) / level));
          };
          if (distance(t) < distance(nearest)) nearest = t;
        }
        // Two levels between the same two timesteps: the second has moved on.
        CHECK(visited[i] >= nearest);
        CHECK(visited[i] <= nearest + (i > 0 && visited[i] == visited[i - 1] + 1 ? 1 : 0));
      }
    }
  }
  // A schedule that is a list of levels gives all of them, in order.
  const V all = visited_timesteps(NoiseSchedule::karras(18), 18, Spacing::karras);
  for (std::int64_t t = 0; t < 18; ++t) CHECK(all[static_cast<std::size_t>(t)] == t);
}

TEST_CASE("spacing: timesteps rise, are inside, and with all steps are all") {
  for (const auto& schedule : {NoiseSchedule::linear(60), NoiseSchedule::cosine(60),
                               NoiseSchedule::linear(3), NoiseSchedule::cosine(1)}) {
    const std::int64_t T = schedule.timesteps();
    for (const Spacing spacing : all_spacings) {
      CAPTURE(name_of(spacing));
      for (std::int64_t steps = 1; steps <= T; ++steps) {
        const V visited = visited_timesteps(schedule, steps, spacing);
        REQUIRE(static_cast<std::int64_t>(visited.size()) == steps);
        REQUIRE(visited.front() >= 0);
        REQUIRE(visited.back() < T);
        for (std::size_t i = 1; i < visited.size(); ++i) REQUIRE(visited[i] > visited[i - 1]);
      }
      CHECK_THROWS_AS(visited_timesteps(schedule, 0, spacing), ValueError);
      CHECK_THROWS_AS(visited_timesteps(schedule, T + 1, spacing), ValueError);
    }
    CHECK(visited_timesteps(schedule, T, Spacing::even) == evenly_spaced_timesteps(T, T));
  }
}

TEST_CASE("spacing: names") {
  for (const Spacing spacing : all_spacings) CHECK(spacing_from_name(name_of(spacing)) == spacing);
  CHECK_THROWS_AS(spacing_from_name("uniform"), ValueError);
}
