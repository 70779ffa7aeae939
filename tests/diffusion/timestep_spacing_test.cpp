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
  CHECK(visited_timesteps(1000, 1) == V{999});
  CHECK(visited_timesteps(1000, 2) == V{0, 999});
  CHECK(visited_timesteps(1000, 4) == V{0, 333, 666, 999});
  CHECK(visited_timesteps(10, 4) == V{0, 3, 6, 9});
  CHECK(visited_timesteps(4, 4) == V{0, 1, 2, 3});
  CHECK(visited_timesteps(1, 1) == V{0});
  for (std::int64_t steps = 2; steps <= 1000; ++steps) {
    const V t = visited_timesteps(1000, steps);
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
  CHECK_THROWS_AS(visited_timesteps(10, 0), ValueError);
  CHECK_THROWS_AS(visited_timesteps(10, 11), ValueError);
}

TEST_CASE("spacing: quadratic timesteps are the squares up to 0.8 T, rounded down") {
  CHECK(visited_timesteps(1000, 5, Spacing::quadratic) == V{0, 50, 200, 450, 800});
  CHECK(visited_timesteps(1000, 10, Spacing::quadratic) ==
        V{0, 9, 39, 88, 158, 246, 355, 483, 632, 800});
  CHECK(visited_timesteps(1000, 1, Spacing::quadratic) == V{800});
  // 0, .33, 1.3, 3, 5.3: the second is not the first again.
  const V fifty = visited_timesteps(1000, 50, Spacing::quadratic);
  CHECK(V(fifty.begin(), fifty.begin() + 5) == V{0, 1, 2, 3, 5});
}

TEST_CASE("spacing: karras and log-snr meet their levels exactly, between the timesteps") {
  for (const auto& schedule : {NoiseSchedule::linear(), NoiseSchedule::cosine()}) {
    const double low = schedule.level(0).noise_to_signal(),
                 high = std::min(schedule.level(999).noise_to_signal(), 80.0);
    for (const auto spacing : {Spacing::karras, Spacing::log_snr}) {
      const std::vector<Level> levels = sampling_levels(schedule, 18, spacing);
      REQUIRE(levels.size() == 19);
      CHECK(levels.back() == Level::clean());
      int between = 0;
      for (std::size_t i = 0; i < 18; ++i) {
        const double u = static_cast<double>(17 - i) / 17.0;
        const double wanted =
            spacing == Spacing::karras
                ? std::pow(std::pow(low, 1.0 / 7.0) * (1.0 - u) + std::pow(high, 1.0 / 7.0) * u,
                           7.0)
                : std::exp(std::log(low) * (1.0 - u) + std::log(high) * u);
        const Level& level = levels[i];
        CHECK(level.noise_to_signal() == doctest::Approx(wanted).epsilon(1e-12));
        CHECK(std::hypot(level.alpha, level.sigma) == doctest::Approx(1.0).epsilon(1e-14));
        // Its time lies between those of its neighbours, and where it is a timestep it is that
        // level.
        const auto below = static_cast<std::int64_t>(std::floor(level.time));
        CHECK(schedule.level(below).noise_to_signal() <= level.noise_to_signal() * (1 + 1e-12));
        if (below < 999)
          CHECK(schedule.level(below + 1).noise_to_signal() > level.noise_to_signal());
        between += level.time != std::floor(level.time);
      }
      CHECK(between >= 15);
    }
  }
  // A schedule that is a list of levels gives all of them, in order.
  const NoiseSchedule eighteen = NoiseSchedule::karras(18);
  const std::vector<Level> all = sampling_levels(eighteen, 18, Spacing::karras);
  for (std::int64_t t = 0; t < 18; ++t) {
    CHECK(all[static_cast<std::size_t>(17 - t)].time == doctest::Approx(double(t)).epsilon(1e-9));
  }
}

TEST_CASE("spacing: levels of a path go from its noisiest to its least noisy one") {
  for (const Path& path :
       {Path::vp(), Path::sub_vp(), Path::ve(), Path::edm(), Path::rectified_flow()}) {
    for (const Spacing spacing : all_spacings) {
      const std::vector<Level> levels = sampling_levels(path, 12, spacing);
      REQUIRE(levels.size() == 13);
      CHECK(levels.front() == path.level(path.max_time()));
      CHECK(levels[11].time == doctest::Approx(path.min_time()).epsilon(1e-9));
      for (std::size_t i = 1; i < 13; ++i) {
        CHECK(levels[i].noise_to_signal() < levels[i - 1].noise_to_signal());
      }
      CHECK(sampling_levels(path, 1, spacing).front() == levels.front());
      CHECK_THROWS_AS(sampling_levels(path, 0, spacing), ValueError);
    }
  }
}

TEST_CASE("spacing: timesteps rise, are inside, and with all steps are all") {
  for (const std::int64_t T : {60, 3, 1}) {
    for (const Spacing spacing :
         {Spacing::even, Spacing::quadratic, Spacing::leading, Spacing::trailing}) {
      CAPTURE(name_of(spacing));
      for (std::int64_t steps = 1; steps <= T; ++steps) {
        const V visited = visited_timesteps(T, steps, spacing);
        REQUIRE(static_cast<std::int64_t>(visited.size()) == steps);
        REQUIRE(visited.front() >= 0);
        REQUIRE(visited.back() < T);
        for (std::size_t i = 1; i < visited.size(); ++i) REQUIRE(visited[i] > visited[i - 1]);
      }
      CHECK_THROWS_AS(visited_timesteps(T, 0, spacing), ValueError);
      CHECK_THROWS_AS(visited_timesteps(T, T + 1, spacing), ValueError);
    }
  }
  const NoiseSchedule schedule = NoiseSchedule::cosine(60);
  for (const Spacing spacing : all_spacings) {
    CHECK_THROWS_AS(sampling_levels(schedule, 0, spacing), ValueError);
    CHECK_THROWS_AS(sampling_levels(schedule, 61, spacing), ValueError);
  }
  CHECK_THROWS_AS(visited_timesteps(60, 5, Spacing::karras), ValueError);
}

TEST_CASE("spacing: leading and trailing timesteps are those of diffusers' DDIMScheduler") {
  // Ends of what diffusers 0.42.1 gives for T = 1000, largest first.
  const auto check = [](Spacing spacing, std::int64_t steps, std::int64_t offset,
                        const std::vector<std::int64_t>& first,
                        const std::vector<std::int64_t>& last) {
    std::vector<std::int64_t> t = visited_timesteps(1000, steps, spacing, offset);
    std::reverse(t.begin(), t.end());
    REQUIRE(std::ssize(t) == steps);
    CHECK(std::vector(t.begin(), t.begin() + 3) == first);
    CHECK(std::vector(t.end() - 3, t.end()) == last);
  };
  check(Spacing::leading, 7, 1, {853, 711, 569}, {285, 143, 1});
  check(Spacing::leading, 50, 1, {981, 961, 941}, {41, 21, 1});
  check(Spacing::leading, 103, 1, {919, 910, 901}, {19, 10, 1});
  check(Spacing::trailing, 7, 0, {999, 856, 713}, {428, 285, 142});
  check(Spacing::trailing, 50, 0, {999, 979, 959}, {59, 39, 19});
  check(Spacing::trailing, 61, 0, {999, 983, 966}, {48, 32, 15});  // there one more, -1
  check(Spacing::even, 50, 0, {999, 979, 958}, {41, 20, 0});
  CHECK(visited_timesteps(1000, 1, Spacing::leading, 1) == std::vector<std::int64_t>{1});
  CHECK(visited_timesteps(1000, 1, Spacing::trailing) == std::vector<std::int64_t>{999});
  CHECK_THROWS_AS(visited_timesteps(1000, 1000, Spacing::leading, 1), ValueError);
  CHECK_THROWS_AS(sampling_levels(Path::edm(), 5, Spacing::trailing), ValueError);
}

TEST_CASE("spacing: karras and log-snr take all levels where none is within 0.002 and 80") {
  const NoiseSchedule clean = NoiseSchedule::from_sigmas({1e-4, 2e-4, 5e-4});
  const std::vector<Level> levels = sampling_levels(clean, 3, Spacing::karras);
  CHECK(levels[0].noise_to_signal() == doctest::Approx(5e-4).epsilon(1e-9));
  CHECK(levels[2].noise_to_signal() == doctest::Approx(1e-4).epsilon(1e-9));
}

TEST_CASE("spacing: names") {
  for (const Spacing spacing : all_spacings)
    CHECK(enum_from_name<Spacing>(name_of(spacing)) == spacing);
  CHECK_THROWS_AS(enum_from_name<Spacing>("uniform"), ValueError);
}
