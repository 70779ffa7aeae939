#include "tensor/rng.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>

#include "tensor/error.h"
#include "tensor/kernels/random.h"
#include "tensor/kernels/random_values.h"
#include "tensor/launch.h"
#include "tensor/memory.h"
#include "tensor/parallel.h"
#include "tests/devices.h"

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
  return t.view({count * width}, first * width).to_vector<T>();
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

TEST_CASE("Rng: the device draws the same bits as the CPU, for every distribution and dtype") {
  if (!testing::device_answers()) return;
  for (const std::int64_t width : {1, 4, 7, 1024}) {
    const auto draw = [&](Device device, auto&& use) {
      Rng rng(11, Purpose::noise);
      rng.seek(std::uint64_t{1} << 33, 5);
      use(randn(rng, {9, width}, DType::f32, device), rand(rng, {9, width}, DType::f32, device),
          randn(rng, {9, width}, DType::f64, device), rand(rng, {9, width}, DType::f64, device),
          randint(rng, -5, 1000, {9, width}, device),
          randint(rng, INT64_MIN, INT64_MAX, {9, width}, device),
          randn(rng, {9, width}, DType::bf16, device), rand(rng, {9, width}, DType::bf16, device));
    };
    std::vector<std::vector<std::uint8_t>> bytes[2];
    for (const Device device : {Device::cpu(), Device::cuda()}) {
      draw(device, [&](const auto&... tensors) {
        for (const Tensor& t : {tensors...}) {
          Tensor raw = Tensor::empty({static_cast<std::int64_t>(t.bytes())}, DType::u8);
          memory::copy(Device::cpu(), raw.mutable_raw(), device, t.raw(), t.bytes());
          bytes[device.is_cuda()].push_back(raw.to_vector<std::uint8_t>());
        }
      });
    }
    for (std::size_t i = 0; i < bytes[0].size(); ++i) {
      INFO("width " << width << ", draw " << i);
      CHECK(bytes[0][i] == bytes[1][i]);
    }
  }
}

TEST_CASE("Rng: on the device, rows that start at any element") {
  if (!testing::device_answers()) return;
  Tensor y = Tensor::zeros({13}, DType::f32, Device::cuda());
  Tensor part = y.view({2, 4}, 3);
  kernel::Random::Args args{};
  args.y = part.mutable_raw();
  args.samples = 2;
  args.per_sample = 4;
  args.dtype = DType::f32;
  launch<kernel::Random>(Device::cuda(), args);
  Tensor expected = Tensor::zeros({13});
  args.y = expected.view({2, 4}, 3).mutable_raw();
  launch<kernel::Random>(Device::cpu(), args);
  CHECK(y.to_vector<float>() == expected.to_vector<float>());
}

TEST_CASE("Rng: with a bound step draws are those of the step in the tensor") {
  for (const Device device : testing::devices()) {
    Rng bound(3), plain(3);
    Tensor step = Tensor::zeros({1}, DType::i64, device);
    bound.bind(step);
    for (const std::uint64_t s : {std::uint64_t{0}, std::uint64_t{9}, std::uint64_t{1} << 34}) {
      step.fill(static_cast<double>(s));
      bound.seek(77, 2);  // the step of seek is not used
      plain.seek(s, 2);
      for (const DType dtype : {DType::f32, DType::f64}) {
        const Tensor x = randn(bound, {3, 5}, dtype, device).to(Device::cpu());
        const Tensor wanted = randn(plain, {3, 5}, dtype);
        CHECK(std::memcmp(x.raw(), wanted.raw(), x.bytes()) == 0);
      }
      CHECK(randint(bound, 0, 1000, {20}, device).to_vector<std::int64_t>() ==
            randint(plain, 0, 1000, {20}).to_vector<std::int64_t>());
      CHECK(permutation(bound, 10) == permutation(plain, 10));
    }
    bound.bind({});
    bound.seek(5);
    plain.seek(5);
    CHECK(rand(bound, {4}, DType::f32, device).to_vector<float>() ==
          rand(plain, {4}).to_vector<float>());
  }
}

TEST_CASE("Rng: a step that cannot be bound, or is elsewhere than the draws, is refused") {
  Rng rng(3);
  CHECK_THROWS_WITH_AS(rng.bind(Tensor::zeros({1})),
                       "Rng: a bound step must be i64; got f32[1] on cpu", DTypeError);
  CHECK_THROWS_WITH_AS(rng.bind(Tensor::zeros({2}, DType::i64)),
                       "Rng: a bound step must have one element; got i64[2] on cpu", ShapeError);
  if (!testing::device_answers()) return;
  rng.bind(Tensor::zeros({1}, DType::i64));
  CHECK_THROWS_AS(randn(rng, {2}, DType::f32, Device::cuda()), DeviceError);
  rng.bind(Tensor::zeros({1}, DType::i64, Device::cuda()));
  CHECK_THROWS_AS(randn(rng, {2}), DeviceError);
}

TEST_CASE("randn: log, sin and cos of its own are as accurate as their type") {
  double log_f32 = 0, log_f64 = 0, turn_f32 = 0, turn_f64 = 0;
  Rng rng(4);
  const auto words = randint(rng, 0, std::int64_t{1} << 53, {100000}).to_vector<std::int64_t>();
  for (std::size_t i = 0; i < words.size(); ++i) {
    // From 2^-53 to 1, every octave and close to 1.
    double u = static_cast<double>(words[i] + 1) * 0x1p-53;
    if (i % 3 == 0) u = std::max(std::ldexp(u, -static_cast<int>(i % 31)), 0x1p-53);
    if (i % 7 == 0) u = 1 - u * 0x1p-20;
    const auto uf = static_cast<float>(u);
    const auto error = [](double is, double wanted) {
      return wanted == 0 ? std::abs(is) : std::abs(is / wanted - 1);
    };
    log_f64 = std::max(log_f64, error(kernel::log_of_uniform(u), std::log(u)));
    log_f32 = std::max(log_f32, error(kernel::log_of_uniform(uf), std::log(double{uf})));
    const double turn = static_cast<double>(words[i]) * 0x1p-53;
    const auto turn_f = static_cast<float>(words[i] >> 29) * 0x1p-24f;
    constexpr double two_pi = 6.283185307179586476925;
    const auto a = kernel::sincos_turns(turn);
    turn_f64 = std::max({turn_f64, std::abs(a.sin - std::sin(two_pi * turn)),
                         std::abs(a.cos - std::cos(two_pi * turn))});
    const auto b = kernel::sincos_turns(turn_f);
    turn_f32 = std::max({turn_f32, std::abs(b.sin - std::sin(two_pi * double{turn_f})),
                         std::abs(b.cos - std::cos(two_pi * double{turn_f}))});
  }
  CHECK(log_f32 < 2e-7);
  CHECK(turn_f32 < 1.2e-7);
  CHECK(log_f64 < 5e-16);
  CHECK(turn_f64 < 1.2e-15);  // half of it is the rounding of the oracle's 2 pi u
  CHECK(kernel::log_of_uniform(1.0f) == 0.0f);
  CHECK(kernel::log_of_uniform(1.0) == 0.0);
}

TEST_CASE("randn and rand: bf16 numbers are those of f32, rounded") {
  for (const Device device : testing::devices()) {
    Rng a(5), b(5);
    for (const auto& draw : {randn, rand}) {
      const auto rounded = draw(a, {3, 7}, DType::bf16, device).to_vector<bf16>();
      const auto exact = draw(b, {3, 7}, DType::f32, Device::cpu()).to_vector<float>();
      for (std::size_t i = 0; i < exact.size(); ++i) CHECK(rounded[i] == bf16(exact[i]));
    }
  }
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

TEST_CASE("Rng: normal numbers have the same bits with every compiler, processor and device") {
  // FNV-1a of the bytes. The bits depend on rounded IEEE operations only (random_values.h), so a
  // compiler or device that breaks these rules shows here.
  const auto checksum = [](const Tensor& t) {
    const Tensor here = t.to(Device::cpu());
    const auto* bytes = static_cast<const std::uint8_t*>(here.raw());
    std::uint64_t hash = 14695981039346656037u;
    for (std::size_t i = 0; i < here.bytes(); ++i) hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
  };
  for (const Device device : testing::devices()) {
    Rng rng(42, Purpose::noise);
    CHECK(checksum(randn(rng, {300, 333}, DType::f32, device)) == 8470387964128170927u);
    CHECK(checksum(randn(rng, {300, 333}, DType::f64, device)) == 11563870293970515268u);
    CHECK(checksum(randn(rng, {300, 333}, DType::bf16, device)) == 5150087443280996494u);
  }
}
