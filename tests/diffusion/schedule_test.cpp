#include "diffusion/schedule.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tensor/error.h"

using namespace ito;

namespace {

struct Golden {  // computed from the closed forms with 60 decimal digits
  std::int64_t t;
  double beta, alpha_bar, beta_tilde;
};

constexpr Golden linear_golden[] = {
    {0, 1e-4, 0.9999, 0.0},
    {1, 0.00011991991991991992, 0.99978009207207208, 5.4531876613026055e-05},
    {10, 0.00029919919919919917, 0.9978065725078461, 0.00025846362040810559},
    {100, 0.0020919919919919921, 0.89514159089753687, 0.0020545535299696638},
    {499, 0.010040040040040041, 0.078587242881778235, 0.010031355414613688},
    {500, 0.010059959959959961, 0.077796658365023905, 0.010051335778909593},
    {999, 0.02, 4.0358297653756835e-05, 0.019999983526560607},
};
constexpr Golden cosine_golden[] = {
    {0, 4.1284224821777805e-05, 0.99995871577517825, 0.0},
    {1, 4.6141752736694507e-05, 0.99991257592736804, 2.1789496145662041e-05},
    {100, 0.00053189915569796479, 0.97157568180783815, 0.00052222359271977901},
    {499, 0.0031458862304781965, 0.49384359044063769, 0.0031361999040579384},
    {500, 0.0031556914415850029, 0.4922851724488026, 0.0031460051254634785},
    {998, 0.74999939290116202, 2.4287669070344682e-06, 0.7499939281844662},
    {999, 0.999, 2.4287669070344683e-09, 0.99899757608819217},
};

template <std::size_t n>
void check_golden(const NoiseSchedule& schedule, const Golden (&golden)[n]) {
  // 1 - f(t+1) / f(t) and 1 - alpha_bar lose up to five digits where they are small.
  const auto near = [](double x) { return doctest::Approx(x).epsilon(1e-11); };
  for (const Golden& g : golden) {
    CAPTURE(g.t);
    CHECK(schedule.beta(g.t) == near(g.beta));
    CHECK(schedule.alpha(g.t) == near(1.0 - g.beta));
    CHECK(schedule.alpha_bar(g.t) == near(g.alpha_bar));
    CHECK(schedule.sqrt_alpha_bar(g.t) == near(std::sqrt(g.alpha_bar)));
    CHECK(schedule.sqrt_one_minus_alpha_bar(g.t) == near(std::sqrt(1.0 - g.alpha_bar)));
    CHECK(schedule.beta_tilde(g.t) == near(g.beta_tilde));
    if (g.t > 0) CHECK(schedule.log_beta_tilde_clipped(g.t) == near(std::log(g.beta_tilde)));
    CHECK(schedule.snr(g.t) == near(g.alpha_bar / (1.0 - g.alpha_bar)));
  }
}

}  // namespace

TEST_CASE("schedule: linear and cosine tables have their golden values") {
  check_golden(NoiseSchedule::linear(), linear_golden);
  check_golden(NoiseSchedule::cosine(), cosine_golden);
}

TEST_CASE("schedule: the posterior's log variance at the first step is that of the second") {
  const NoiseSchedule linear = NoiseSchedule::linear();
  CHECK(linear.beta_tilde(0) == 0.0);
  CHECK(linear.log_beta_tilde_clipped(0) == linear.log_beta_tilde_clipped(1));
  CHECK(linear.log_beta_tilde_clipped(0) == doctest::Approx(-9.816725135294).epsilon(1e-12));
  CHECK(NoiseSchedule::linear(1).log_beta_tilde_clipped(0) == std::log(1e-4));
}

TEST_CASE("schedule: only the last beta of the cosine schedule is clipped") {
  const NoiseSchedule cosine = NoiseSchedule::cosine();
  for (std::int64_t t = 0; t < 999; ++t) CHECK(cosine.beta(t) < 0.999);
  CHECK(cosine.beta(999) == 0.999);
}

TEST_CASE(
    "schedule: alpha_bar falls from 1, and half way the cosine one keeps six times the signal") {
  for (const auto& schedule : {NoiseSchedule::linear(), NoiseSchedule::cosine()}) {
    CHECK(schedule.alpha_bar(-1) == 1.0);
    for (std::int64_t t = 0; t < 1000; ++t) {
      CHECK(schedule.alpha_bar(t) < schedule.alpha_bar(t - 1));
      CHECK(schedule.beta_tilde(t) < schedule.beta(t));
    }
  }
  CHECK(NoiseSchedule::cosine().alpha_bar(499) / NoiseSchedule::linear().alpha_bar(499) > 6.0);
}

TEST_CASE("schedule: the prior's divergence is that of two normal distributions") {
  CHECK(NoiseSchedule::linear().prior_kl() == doctest::Approx(2.0179556035882e-5).epsilon(1e-12));
  CHECK(NoiseSchedule::cosine().prior_kl() == doctest::Approx(1.21438345499e-9).epsilon(1e-9));
  const NoiseSchedule half = NoiseSchedule::from_betas({0.5});
  CHECK(half.prior_kl(3.0) == doctest::Approx(0.5 * (0.5 + 1.5 - 1.0 - std::log(0.5))));
}

TEST_CASE("schedule: any table of betas, and any length") {
  const NoiseSchedule s = NoiseSchedule::from_betas({0.1, 0.5, 0.2});
  CHECK(s.timesteps() == 3);
  CHECK(s.alpha_bar(2) == doctest::Approx(0.9 * 0.5 * 0.8).epsilon(1e-15));
  CHECK(s.beta_tilde(2) == doctest::Approx(0.2 * 0.55 / 0.64).epsilon(1e-14));
  CHECK(NoiseSchedule::linear(1).beta(0) == 1e-4);
  CHECK(NoiseSchedule::linear(2).beta(1) == 0.02);
  CHECK(NoiseSchedule::cosine(1).beta(0) == 0.999);
}

TEST_CASE("schedule: arguments outside their range are refused") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(NoiseSchedule::linear(0), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::linear(-1), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::linear(std::int64_t{1} << 40), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::linear(10, 0.0, 0.1), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::linear(10, 0.1, 1.0), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::linear(10, 0.2, 0.1), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::linear(10, nan, 0.1), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::cosine(0), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::cosine(10, 0.0), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::cosine(10, nan), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::from_betas({}), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::from_betas({0.1, 1.0}), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::from_betas({nan}), ValueError);
  const NoiseSchedule s = NoiseSchedule::linear(10);
  CHECK_THROWS_AS(s.beta(10), ValueError);
  CHECK_THROWS_AS(s.beta(-1), ValueError);
  CHECK_THROWS_AS(s.alpha_bar(-2), ValueError);
  CHECK_THROWS_AS(s.beta_tilde(-1), ValueError);
  CHECK_THROWS_AS(s.log_beta_tilde_clipped(10), ValueError);
}
