#include "tensor/rng.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>

#include "tensor/error.h"
#include "tensor/parallel.h"

using namespace ito;

namespace {

std::array<std::uint32_t, 4> philox(PhiloxCounter c, PhiloxKey k) {
  const PhiloxCounter r = philox4x32(c, k);
  return {r.c0, r.c1, r.c2, r.c3};
}
using Words = std::array<std::uint32_t, 4>;

template <class T>
std::vector<T> rows(const Tensor& t, std::int64_t first, std::int64_t count) {
  const std::int64_t width = t.numel() / t.size(0);
  return t.alias({count * width}, first * width).to_vector<T>();
}

struct Moments {
  double mean = 0, variance = 0, skewness = 0, kurtosis = 0;
};
Moments moments(const std::vector<double>& x) {
  Moments m;
  const auto n = static_cast<double>(x.size());
  for (const double v : x) m.mean += v / n;
  for (const double v : x) m.variance += std::pow(v - m.mean, 2) / n;
  for (const double v : x) m.skewness += std::pow((v - m.mean) / std::sqrt(m.variance), 3) / n;
  for (const double v : x) m.kurtosis += std::pow((v - m.mean) / std::sqrt(m.variance), 4) / n;
  return m;
}

std::vector<double> as_double(const Tensor& t) {
  const auto v = t.to_vector<float>();
  return {v.begin(), v.end()};
}

}  // namespace

TEST_CASE("philox4x32-10: the known answers of its authors") {
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const std::uint32_t ones = 0xffffffff;
  CHECK(philox({ones, ones, ones, ones}, {ones, ones}) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("Rng: the same seed, purpose, step and draw give the same numbers; each change others") {
  const auto numbers = [](std::uint64_t seed, Purpose purpose, std::uint64_t step, int draws) {
    Rng rng(seed, purpose);
    rng.seek(step);
    for (int i = 0; i < draws; ++i) rand(rng, {1});
    return randn(rng, {4, 5}).to_vector<float>();
  };
  const auto base = numbers(1, Purpose::noise, 3, 1);
  CHECK(base == numbers(1, Purpose::noise, 3, 1));
  CHECK(base != numbers(2, Purpose::noise, 3, 1));
  CHECK(base != numbers(1, Purpose::dropout, 3, 1));
  CHECK(base != numbers(1, Purpose::noise, 4, 1));
  CHECK(base != numbers(1, Purpose::noise, 3, 2));
  CHECK(numbers(1, Purpose::noise, std::uint64_t{1} << 33, 0) !=
        numbers(1, Purpose::noise, std::uint64_t{1} << 34, 0));
}

TEST_CASE("Rng: seek makes a generator forget what it drew") {
  Rng a(7), b(7);
  randn(a, {100});
  a.seek(5);
  b.seek(5);
  CHECK(randn(a, {10}).to_vector<float>() == randn(b, {10}).to_vector<float>());
}

TEST_CASE("Rng: a batch of 8 equals its parts, for every distribution and an odd row length") {
  for (const std::int64_t width : {1, 4, 7}) {
    const auto draw = [&](std::uint64_t first, std::int64_t count) {
      Rng rng(11, Purpose::noise);
      rng.seek(2, first);
      return std::array{randn(rng, {count, width}), rand(rng, {count, width}),
                        randn(rng, {count, width}, DType::f64),
                        randint(rng, 0, 1000, {count, width})};
    };
    const auto all = draw(0, 8), part = draw(5, 3);
    CHECK(rows<float>(all[0], 5, 3) == part[0].to_vector<float>());
    CHECK(rows<float>(all[1], 5, 3) == part[1].to_vector<float>());
    CHECK(rows<double>(all[2], 5, 3) == part[2].to_vector<double>());
    CHECK(rows<std::int64_t>(all[3], 5, 3) == part[3].to_vector<std::int64_t>());
  }
}

TEST_CASE("Rng: any number of threads draws the same bits") {
  const int before = num_threads();
  std::vector<float> first;
  for (const int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    Rng rng(3);
    const auto numbers = randn(rng, {64, 333}).to_vector<float>();
    if (threads == 1) first = numbers;
    CHECK(std::memcmp(numbers.data(), first.data(), numbers.size() * sizeof(float)) == 0);
  }
  set_num_threads(before);
}

TEST_CASE("randn: the moments of a standard normal, each within five standard errors") {
  constexpr double n = 1 << 18;
  for (const DType dtype : {DType::f32, DType::f64}) {
    Rng rng(42, Purpose::test);
    const Tensor x = randn(rng, {64, 4096}, dtype);
    const Moments m = moments(dtype == DType::f32 ? as_double(x) : x.to_vector<double>());
    CHECK(std::abs(m.mean) < 5 * std::sqrt(1 / n));
    CHECK(std::abs(m.variance - 1) < 5 * std::sqrt(2 / n));
    CHECK(std::abs(m.skewness) < 5 * std::sqrt(6 / n));
    CHECK(std::abs(m.kurtosis - 3) < 5 * std::sqrt(24 / n));
  }
}

TEST_CASE("randn: neighbouring elements, rows, draws and purposes are uncorrelated") {
  const auto correlation = [](const std::vector<double>& a, const std::vector<double>& b) {
    double total = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) total += a[i] * b[i];
    return total / static_cast<double>(a.size());
  };
  constexpr double limit = 5.0 / 256.0;  // five standard errors of 65,536 products
  Rng rng(1, Purpose::noise), other(1, Purpose::sample);
  const auto a = as_double(randn(rng, {256, 256})), b = as_double(randn(rng, {256, 256}));
  const auto c = as_double(randn(other, {256, 256}));
  CHECK(std::abs(correlation(a, b)) < limit);
  CHECK(std::abs(correlation(a, c)) < limit);
  for (const std::ptrdiff_t lag : {1, 2, 256}) {
    CHECK(std::abs(correlation({a.begin(), a.end() - lag}, {a.begin() + lag, a.end()})) < limit);
  }
}

TEST_CASE("randn: finite numbers only, and tails as long as they should be") {
  Rng rng(9);
  const auto x = randn(rng, {1 << 20}).to_vector<float>();
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  CHECK(*low > -6.7f);
  CHECK(*high < 6.7f);
  CHECK(*low < -4.0f);  // one in 31,574 is beyond
  CHECK(*high > 4.0f);
}

TEST_CASE("rand: uniform in [0, 1)") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Rng rng(5);
    const Tensor t = rand(rng, {1 << 17}, dtype);
    const auto x = dtype == DType::f32 ? as_double(t) : t.to_vector<double>();
    std::vector<double> bins(16, 0.0);
    for (const double v : x) {
      REQUIRE(v >= 0.0);
      REQUIRE(v < 1.0);
      ++bins[static_cast<std::size_t>(v * 16)];
    }
    const double expected = static_cast<double>(x.size()) / 16;
    double chi2 = 0.0;
    for (const double count : bins) chi2 += std::pow(count - expected, 2) / expected;
    CHECK(chi2 < 44.3);  // 15 degrees of freedom: exceeded once in 10,000
  }
}

TEST_CASE("randint: every value of the range, uniformly, and none outside") {
  Rng rng(6);
  const auto x = randint(rng, -3, 4, {1 << 16}).to_vector<std::int64_t>();
  std::vector<double> bins(7, 0.0);
  for (const std::int64_t v : x) {
    REQUIRE(v >= -3);
    REQUIRE(v < 4);
    ++bins[static_cast<std::size_t>(v + 3)];
  }
  double chi2 = 0.0;
  for (const double count : bins) chi2 += std::pow(count - 65536.0 / 7, 2) / (65536.0 / 7);
  CHECK(chi2 < 27.9);  // 6 degrees of freedom: exceeded once in 10,000
  CHECK(randint(rng, 5, 6, {10}).to_vector<std::int64_t>() == std::vector<std::int64_t>(10, 5));
  // The whole range of i64 does not overflow.
  const auto wide = randint(rng, INT64_MIN, INT64_MAX, {1000}).to_vector<std::int64_t>();
  CHECK(std::count_if(wide.begin(), wide.end(), [](std::int64_t v) { return v < 0; }) > 400);
  CHECK_THROWS_WITH_AS(randint(rng, 3, 3, {1}), "randint: low must be below high; got [3, 3)",
                       ValueError);
}

TEST_CASE("permutation: every number once, each order equally likely") {
  Rng rng(8, Purpose::shuffle);
  std::vector<int> seen(6, 0);
  for (std::uint64_t step = 0; step < 6000; ++step) {
    rng.seek(step);
    const auto p = permutation(rng, 3);
    REQUIRE(std::set<std::int64_t>(p.begin(), p.end()) == std::set<std::int64_t>{0, 1, 2});
    ++seen[static_cast<std::size_t>(p[0] * 2 + (p[1] > p[2] ? 1 : 0))];
  }
  double chi2 = 0.0;
  for (const int count : seen) chi2 += std::pow(count - 1000.0, 2) / 1000.0;
  CHECK(chi2 < 25.7);  // 5 degrees of freedom: exceeded once in 10,000
  CHECK(permutation(rng, 0).empty());
  CHECK(permutation(rng, 1) == std::vector<std::int64_t>{0});
  auto big = permutation(rng, 10000);
  std::sort(big.begin(), big.end());
  std::vector<std::int64_t> wanted(10000);
  std::iota(wanted.begin(), wanted.end(), 0);
  CHECK(big == wanted);
}

TEST_CASE("Rng: numbers stay what they are, for runs that resume") {
  // From an independent implementation of the key, the counter and Philox.
  Rng rng(42, Purpose::noise);
  rng.seek(1000, 3);
  const auto u = rand(rng, {2, 2}).to_vector<float>();
  const auto k = randint(rng, 0, 1000, {4}).to_vector<std::int64_t>();
  const std::vector<float> words{5175834, 12435724, 6505697, 10314259};
  for (std::size_t i = 0; i < 4; ++i) CHECK(u[i] * 0x1p24f == words[i]);
  CHECK(k == std::vector<std::int64_t>{213, 751, 116, 328});
}
