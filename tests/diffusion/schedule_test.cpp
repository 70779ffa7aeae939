#include "diffusion/process/schedule.h"

#include <doctest/doctest.h>

#include <algorithm>
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

// The same for alpha_bar alone, of the other schedules.
struct GoldenLevel {
  NoiseSchedule schedule;
  std::int64_t t;
  double beta, alpha_bar;
};

const GoldenLevel golden_levels[] = {
    {NoiseSchedule::quadratic(), 99, 0.0005300925117458655, 0.9716971138291582},
    {NoiseSchedule::quadratic(), 499, 0.005722151147768564, 0.3331877673562998},
    {NoiseSchedule::quadratic(), 999, 0.02, 0.0007334124595808149},
    {NoiseSchedule::quadratic(1000, 0.00085, 0.012), 499, 0.004803792980550718, 0.2776696504564678},
    {NoiseSchedule::quadratic(1000, 0.00085, 0.012), 999, 0.012, 0.00466009851307724},
    {NoiseSchedule::constant(), 499, 0.02, 4.102398514547259e-05},
    {NoiseSchedule::constant(), 999, 0.02, 1.6829673572159556e-09},
    {NoiseSchedule::warmup(1000, 0.1), 99, 0.02, 0.3635632480554919},
    {NoiseSchedule::warmup(1000, 0.1), 999, 0.02, 4.613686681671412e-09},
    {NoiseSchedule::warmup(1000, 0.5), 99, 0.00404809619238477, 0.8124615192002694},
    {NoiseSchedule::warmup(1000, 0.5), 999, 0.02, 2.606135133702287e-07},
    {NoiseSchedule::linear_rescaled(4000), 0, 2.5e-5, 1.0 - 2.5e-5},
    {NoiseSchedule::linear_rescaled(4000), 3999, 0.005, 4.2466522758022325e-05},
};

std::vector<NoiseSchedule> all_schedules() {
  std::vector<NoiseSchedule> all = {NoiseSchedule::linear(), NoiseSchedule::cosine(),
                                    NoiseSchedule::karras()};
  for (const GoldenLevel& g : golden_levels) all.push_back(g.schedule);
  return all;
}

// The largest |got(t) / wanted(t) - 1|.
template <class Got, class Wanted>
double worst_ratio(const NoiseSchedule& s, const Got& got, const Wanted& wanted) {
  double worst = 0.0;
  for (std::int64_t t = 0; t < s.timesteps(); ++t) {
    worst = std::max(worst, std::abs(static_cast<double>(got(t) / wanted(t) - 1.0L)));
  }
  return worst;
}

// The largest relative error of the EDM paper's list of levels.
double distance_from_edm(const NoiseSchedule& s) {
  const double levels[] = {80,       57.585985, 40.785574, 28.374585, 19.352453, 12.910082,
                           8.400935, 5.315195,  3.256822,  1.92334,   1.088171,  .585348,
                           .296442,  .139516,   .059947,   .022935,   .007528,   .002};
  REQUIRE(s.timesteps() == 18);
  return worst_ratio(
      s, [&](std::int64_t t) { return s.level(t).noise_to_signal(); },
      [&](std::int64_t t) { return levels[17 - t]; });
}

template <std::size_t n>
void check_golden(const NoiseSchedule& schedule, const Golden (&golden)[n]) {
  // 1 - f(t+1) / f(t) and 1 - alpha_bar lose up to five digits where they are small.
  const auto near = [](double x) { return doctest::Approx(x).epsilon(1e-11); };
  for (const Golden& g : golden) {
    CAPTURE(g.t);
    CHECK(schedule.beta(g.t) == near(g.beta));
    CHECK((1.0 - schedule.beta(g.t)) == near(1.0 - g.beta));
    CHECK(schedule.alpha_bar(g.t) == near(g.alpha_bar));
    CHECK(schedule.level(g.t).alpha == near(std::sqrt(g.alpha_bar)));
    CHECK(schedule.level(g.t).sigma == near(std::sqrt(1.0 - g.alpha_bar)));
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

TEST_CASE("schedule: quadratic, constant, warm-up and rescaled tables have their golden values") {
  for (const GoldenLevel& g : golden_levels) {
    CHECK(g.schedule.beta(g.t) == doctest::Approx(g.beta).epsilon(1e-13));
    CHECK(g.schedule.alpha_bar(g.t) == doctest::Approx(g.alpha_bar).epsilon(1e-12));
  }
  for (const NoiseSchedule& s : all_schedules()) {
    for (std::int64_t t = 0; t < s.timesteps(); ++t) {
      REQUIRE((s.beta(t) > 0.0 && s.beta(t) < 1.0));
      REQUIRE(s.alpha_bar(t) < (t == 0 ? 1.0 : s.alpha_bar(t - 1)));
    }
  }
  CHECK(NoiseSchedule::linear_rescaled(1000).alpha_bar(999) ==
        NoiseSchedule::linear().alpha_bar(999));
  CHECK(NoiseSchedule::warmup(10, 0.0).beta(0) == 0.02);
  // Without rescaling, fewer steps leave most of the image: the prior is then wrong.
  CHECK(NoiseSchedule::linear_rescaled(100).alpha_bar(99) < 1e-4);
  CHECK(NoiseSchedule::linear(100).alpha_bar(99) > 0.3);
}

TEST_CASE("schedule: by name, each its own") {
  const std::vector<std::string> names = NoiseSchedule::names();
  for (const std::string& name : names) {
    for (const std::string& other : names) {
      const NoiseSchedule a = NoiseSchedule::named(name, 500), b = NoiseSchedule::named(other, 500);
      CHECK((a.alpha_bar(250) == b.alpha_bar(250)) == (name == other));
    }
  }
  CHECK(NoiseSchedule::named("cosine", 10).alpha_bar(9) == NoiseSchedule::cosine(10).alpha_bar(9));
  CHECK(NoiseSchedule::named("stable-diffusion").alpha_bar(999) ==
        doctest::Approx(0.00466009851307724).epsilon(1e-12));
  CHECK_THROWS_WITH_AS(NoiseSchedule::named("sine"), doctest::Contains("must be one of linear, "),
                       ValueError);
}

TEST_CASE("schedule: jsd forgets the same share of the start at every step") {
  const NoiseSchedule s = NoiseSchedule::jsd(1000);
  for (std::int64_t t = 0; t < 999; ++t) {
    CHECK(s.alpha_bar(t) == doctest::Approx(1.0 - double(t + 1) / 1000.0).epsilon(1e-14));
    CHECK(s.beta(t) == doctest::Approx(1.0 / double(1000 - t)).epsilon(1e-11));
  }
  CHECK(s.beta(999) == 1.0);
  CHECK(s.has_zero_terminal_snr());
}

TEST_CASE("schedule: karras has the levels of EDM, and a wrong exponent has not") {
  CHECK(distance_from_edm(NoiseSchedule::karras(18)) < 3e-5);  // the list has six decimals
  CHECK(distance_from_edm(NoiseSchedule::karras(18, 0.002, 80.0, 6.0)) > 0.1);
  CHECK(NoiseSchedule::karras(1).level(0).noise_to_signal() ==
        doctest::Approx(80.0).epsilon(1e-14));
}

TEST_CASE("schedule: a table of sigmas or of alpha_bars comes back, with all its digits") {
  const std::vector<double> sigmas = {1e-9, 1e-4, 0.3, 1.0, 50.0, 1e6};
  const NoiseSchedule s = NoiseSchedule::from_sigmas(sigmas);
  const auto wanted = [&](std::int64_t t) { return sigmas[static_cast<std::size_t>(t)]; };
  CHECK(worst_ratio(
            s, [&](std::int64_t t) { return s.level(t).noise_to_signal(); }, wanted) < 1e-14);
  const auto variance = [&](std::int64_t t) {
    const long double v = static_cast<long double>(wanted(t)) * wanted(t);
    return v / (1.0L + v);
  };
  CHECK(worst_ratio(
            s, [&](std::int64_t t) { return s.one_minus_alpha_bar(t); }, variance) < 1e-14);
  // What 1 - alpha_bar alone would give: nothing is left of the smallest level.
  CHECK(worst_ratio(
            s, [&](std::int64_t t) { return 1.0 - s.alpha_bar(t); }, variance) > 0.5);

  const std::vector<double> alpha_bars = {0.9999, 0.5, 1e-3, 0.0};
  const NoiseSchedule a = NoiseSchedule::from_alpha_bars(alpha_bars);
  for (std::int64_t t = 0; t < 4; ++t) {
    CHECK(a.alpha_bar(t) == alpha_bars[static_cast<std::size_t>(t)]);
  }
  CHECK(a.beta(1) == doctest::Approx(1.0 - 0.5 / 0.9999).epsilon(1e-15));
  CHECK(a.beta(3) == 1.0);
  CHECK(a.has_zero_terminal_snr());
}

TEST_CASE("schedule: sigma, lambda and the log of the signal-to-noise ratio are one number") {
  for (const NoiseSchedule& s : all_schedules()) {
    long double log_alpha_bar = 0.0L;
    for (std::int64_t t = 0; t < s.timesteps(); ++t) {
      log_alpha_bar += std::log1p(-static_cast<long double>(s.beta(t)));
      const long double signal = std::exp(log_alpha_bar), noise = -std::expm1(log_alpha_bar);
      const auto sigma = static_cast<double>(std::sqrt(noise / signal));
      const auto log_snr = static_cast<double>(log_alpha_bar - std::log(noise));
      REQUIRE(s.level(t).noise_to_signal() == doctest::Approx(sigma).epsilon(1e-11));
      REQUIRE(std::abs(s.log_snr(t) - log_snr) < 1e-11);
      REQUIRE(std::abs(s.level(t).lambda() - 0.5 * log_snr) < 1e-11);
      REQUIRE(s.snr(t) == doctest::Approx(std::exp(log_snr)).epsilon(1e-10));
    }
  }
  CHECK(Level::clean().noise_to_signal() == 0.0);
  CHECK(std::isinf(Level::clean().lambda()));
}

TEST_CASE("schedule: levels are those of the tables, and of each sample of a batch") {
  for (const NoiseSchedule& s : all_schedules()) {
    const std::vector<Level> levels = s.levels();
    for (std::int64_t t = 0; t < s.timesteps(); ++t) {
      const Level& level = levels[static_cast<std::size_t>(t)];
      CHECK(level == s.level(t));
      CHECK(level.time == double(t));
      CHECK(std::abs(level.alpha * level.alpha - s.alpha_bar(t)) < 1e-15);
      CHECK(level.sigma * level.sigma == doctest::Approx(s.one_minus_alpha_bar(t)).epsilon(1e-14));
    }
  }
  const NoiseSchedule s = NoiseSchedule::linear();
  const Levels batch =
      s.levels(Tensor::from<std::int64_t>({7, 0, 999}, {3}), Tensor::zeros({3, 2, 2}, DType::f64));
  CHECK(batch.time.shape() == Shape{3});
  CHECK(batch.alpha.shape() == Shape{3, 1, 1});
  CHECK(batch.time.to_vector<double>() == std::vector<double>{7, 0, 999});
  CHECK(batch.sigma.to_vector<double>()[2] == s.level(999).sigma);
}

TEST_CASE("schedule: a level between two timesteps has the noise asked for, exactly") {
  for (const NoiseSchedule& s : {NoiseSchedule::linear(), NoiseSchedule::karras(40)}) {
    const double low = s.level(0).noise_to_signal();
    const double high = s.level(s.timesteps() - 1).noise_to_signal();
    double before = -1.0;
    for (double wanted = 1.001 * low; wanted < high; wanted *= 1.07) {
      const Level level = s.level_at(wanted);
      CHECK(level.noise_to_signal() == doctest::Approx(wanted).epsilon(1e-13));
      CHECK(level.time > before);
      before = level.time;
      const auto below = static_cast<std::int64_t>(level.time);
      CHECK(s.level(below).noise_to_signal() <= wanted);
      CHECK(s.level(below + 1).noise_to_signal() > wanted);
    }
    for (std::int64_t t = 0; t < s.timesteps(); ++t) {
      CHECK(std::abs(s.level_at(s.level(t).noise_to_signal()).time - double(t)) < 1e-8);
    }
    CHECK(s.level_at(0.5 * low) == s.level(0));
    CHECK(s.level_at(2.0 * high) == s.level(s.timesteps() - 1));
  }
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(NoiseSchedule::jsd(10).level_at(infinity) == NoiseSchedule::jsd(10).level(9));
  CHECK(NoiseSchedule::linear().level_at(infinity).time == 999.0);
}

TEST_CASE("schedule: respaced, the steps composed reproduce alpha_bar of those visited") {
  const std::vector<std::int64_t> visited = {0, 3, 4, 250, 700, 998, 999};
  // The chain of one's own betas, and the mistake: the betas of the steps that are visited.
  const auto distance = [&](const NoiseSchedule& s, const auto& beta_of) {
    double product = 1.0, worst = 0.0;
    for (std::size_t i = 0; i < visited.size(); ++i) {
      product *= 1.0 - beta_of(i);
      worst = std::max(worst, std::abs(product - s.alpha_bar(visited[i])));
    }
    return worst;
  };
  for (const NoiseSchedule& s :
       {NoiseSchedule::linear(), NoiseSchedule::cosine(), NoiseSchedule::jsd()}) {
    const NoiseSchedule few = s.respaced(visited);
    REQUIRE(few.timesteps() == 7);
    CHECK(distance(s, [&](std::size_t i) { return few.beta(std::int64_t(i)); }) < 1e-14);
    CHECK(distance(s, [&](std::size_t i) { return s.beta(visited[i]); }) > 0.1);
    for (std::size_t i = 0; i < visited.size(); ++i) {
      const auto t = static_cast<std::int64_t>(i);
      CHECK(few.alpha_bar(t) == s.alpha_bar(visited[i]));
      CHECK(few.one_minus_alpha_bar(t) == s.one_minus_alpha_bar(visited[i]));
      CHECK(few.level(t) == s.level(visited[i]));  // its time too
      const Level before = i == 0 ? Level::clean() : s.level(visited[i - 1]);
      CHECK(few.beta(t) ==
            doctest::Approx(transition(before, s.level(visited[i])).variance).epsilon(1e-12));
    }
  }
}

TEST_CASE("schedule: shifted to zero terminal SNR, the root of alpha_bar is shifted and scaled") {
  for (const NoiseSchedule& old :
       {NoiseSchedule::linear(), NoiseSchedule::cosine(),
        NoiseSchedule::quadratic(1000, 0.00085, 0.012), NoiseSchedule::linear(2)}) {
    const NoiseSchedule s = old.with_zero_terminal_snr();
    const std::int64_t last = s.timesteps() - 1;
    CHECK(s.alpha_bar(last) == 0.0);
    CHECK(s.beta(last) == 1.0);
    CHECK(s.one_minus_alpha_bar(last) == 1.0);
    CHECK(s.prior_kl() == 0.0);
    CHECK(s.alpha_bar(0) == doctest::Approx(old.alpha_bar(0)).epsilon(1e-15));
    const auto root = [&](std::int64_t t) {
      return std::sqrt(static_cast<long double>(old.alpha_bar(t)));
    };
    for (std::int64_t t = 0; t < last; ++t) {
      const long double shifted = (root(t) - root(last)) * root(0) / (root(0) - root(last));
      CHECK(s.alpha_bar(t) == doctest::Approx(double(shifted * shifted)).epsilon(1e-12));
      CHECK(s.beta(t) > 0.0);
    }
    CHECK(s.has_zero_terminal_snr());
    CHECK_FALSE(old.has_zero_terminal_snr());
    CHECK(old.prior_kl() > 0.0);
  }
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
    for (std::int64_t t = 0; t < 1000; ++t) {
      CHECK(schedule.alpha_bar(t) < (t == 0 ? 1.0 : schedule.alpha_bar(t - 1)));
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
  CHECK_THROWS_AS(NoiseSchedule::from_betas({1.0, 0.1}), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::from_betas({nan}), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::linear_rescaled(20), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::quadratic(10, 0.2, 0.1), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::constant(10, 1.0), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::jsd(0), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::warmup(10, 1.1), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::warmup(10, nan), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::karras(10, 0.0), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::karras(10, 1.0, 1.0), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::karras(10, 0.002, 80.0, 0.0), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::from_alpha_bars({}), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::from_alpha_bars({1.0, 0.5}), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::from_alpha_bars({0.5, 0.5}), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::from_alpha_bars({0.5, -0.1}), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::from_alpha_bars({nan}), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::from_sigmas({}), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::from_sigmas({0.0, 1.0}), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::from_sigmas({2.0, 1.0}), ValueError);
  CHECK_THROWS_AS(NoiseSchedule::from_sigmas({std::numeric_limits<double>::infinity()}),
                  ValueError);
  CHECK_THROWS_AS(NoiseSchedule::linear(1).with_zero_terminal_snr(), ValueError);
  const NoiseSchedule s = NoiseSchedule::linear(10);
  CHECK_THROWS_AS(s.respaced({}), ValueError);
  CHECK_THROWS_AS(s.respaced({1, 1}), ValueError);
  CHECK_THROWS_AS(s.respaced({-1, 1}), ValueError);
  CHECK_THROWS_AS(s.respaced({1, 10}), ValueError);
  CHECK_THROWS_AS(s.level_at(0.0), ValueError);
  CHECK_THROWS_AS(s.level_at(nan), ValueError);
  CHECK_THROWS_AS(s.level(-1), ValueError);
  CHECK_THROWS_AS(s.level(10), ValueError);
  CHECK_THROWS_AS(s.beta(10), ValueError);
  CHECK_THROWS_AS(s.beta(-1), ValueError);
  CHECK_THROWS_AS(s.alpha_bar(-2), ValueError);
  CHECK_THROWS_AS(s.beta_tilde(-1), ValueError);
  CHECK_THROWS_AS(s.log_beta_tilde_clipped(10), ValueError);
}
