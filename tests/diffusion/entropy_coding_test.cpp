// Bits at the price of their probability: the range coder, bytes of the last step, and samples.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "diffusion/likelihood/codec/block_coder.h"
#include "diffusion/likelihood/codec/pixel_coder.h"
#include "diffusion/likelihood/codec/range_coder.h"
#include "diffusion/likelihood/codec/sample_coder.h"
#include "tensor/error.h"

using namespace ito;
using namespace ito::codec;

namespace {

// Symbols 0 .. 3 of probability 1/2, 1/4, 1/8, 1/8 in places of 2^3.
constexpr Interval intervals[] = {{0, 4, 3}, {4, 2, 3}, {6, 1, 3}, {7, 1, 3}};

std::vector<std::int64_t> random_integers(std::int64_t n, std::int64_t high, std::uint64_t seed) {
  Rng rng(seed, Purpose::test);
  return randint(rng, 0, high, {n}).to_vector<std::int64_t>();
}

double phi(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

// The largest distance between the distribution of `samples` and Phi((x - mean) / deviation), in
// units in which 1.95 is exceeded by chance once in a thousand times (Kolmogorov and Smirnov).
double distance_from_normal(std::vector<double> samples, double mean, double deviation) {
  std::sort(samples.begin(), samples.end());
  const auto n = static_cast<double>(samples.size());
  double distance = 0.0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const double p = phi((samples[i] - mean) / deviation), below = static_cast<double>(i) / n;
    distance = std::max({distance, std::abs(p - below), std::abs(p - below - 1.0 / n)});
  }
  return distance * std::sqrt(n);
}

}  // namespace

TEST_CASE("range coder: what was sent comes back, at the price of its probability") {
  const auto dice = random_integers(20'000, 8, 1);
  RangeEncoder out;
  double price = 0.0;
  const auto symbol_of = [](std::int64_t place) {
    return place < 4 ? 0 : place < 6 ? 1 : place - 4;
  };
  for (const std::int64_t place : dice) {
    const Interval& i = intervals[symbol_of(place)];
    out.symbol(i);
    price += 3.0 - std::log2(i.size);
  }
  CHECK(out.bits() == doctest::Approx(price).epsilon(1e-9));
  const auto bytes = out.finish();
  CHECK(8.0 * static_cast<double>(bytes.size()) < price + 16.0);

  RangeDecoder in(bytes, "message");
  bool same = true;
  for (const std::int64_t place : dice) {
    const auto at = static_cast<std::int64_t>(in.peek(3));
    same = same && symbol_of(at) == symbol_of(place);
    in.symbol(intervals[symbol_of(at)]);
  }
  CHECK(same);
  in.finish();
}

TEST_CASE("range coder: carries run through any number of bytes") {
  // The last place again and again keeps low just below a power of two; the last symbol decides.
  for (const std::uint32_t end : {0u, 1u, 65535u}) {
    for (int length = 0; length < 40; ++length) {
      RangeEncoder out;
      for (int i = 0; i < length; ++i) out.symbol({65535, 1, 16});
      out.symbol({end, 1, 16});
      for (int i = 0; i < 5; ++i) out.plain(7, 127);
      const auto bytes = out.finish();
      RangeDecoder in(bytes, "message");
      for (int i = 0; i < length; ++i) REQUIRE(in.plain(16) == 65535);
      REQUIRE(in.plain(16) == end);
      for (int i = 0; i < 5; ++i) REQUIRE(in.plain(7) == 127);
      in.finish();
    }
  }
}

TEST_CASE("range coder: learned bits and numbers come back, and cost near their entropy") {
  const auto dice = random_integers(50'000, 10, 2);
  RangeEncoder out;
  AdaptiveBit bit;
  NumberModel number;
  NibbleModel nibble;
  for (const std::int64_t d : dice) out.bit(bit, d == 0);
  const double per_bit = out.bits() / 50'000;
  CHECK(per_bit > 0.4690);  // the entropy of 1/10
  CHECK(per_bit < 0.4690 * 1.03);
  for (std::uint32_t n = 1; n < 5000; ++n) code_number(out, number, n);
  code_number(out, number, std::numeric_limits<std::uint32_t>::max());
  for (int n = 0; n < 1000; ++n) code_nibble(out, nibble, n % 16);
  const auto bytes = out.finish();

  RangeDecoder in(bytes, "message");
  AdaptiveBit bit2;
  NumberModel number2;
  NibbleModel nibble2;
  bool same = true;
  for (const std::int64_t d : dice) same = same && in.bit(bit2) == (d == 0);
  for (std::uint32_t n = 1; n < 5000; ++n) same = same && code_number(in, number2) == n;
  same = same && code_number(in, number2) == std::numeric_limits<std::uint32_t>::max();
  for (int n = 0; n < 1000; ++n) same = same && code_nibble(in, nibble2) == n % 16;
  CHECK(same);
  in.finish();
}

TEST_CASE("range coder: another model reads something else, and short messages are refused") {
  RangeEncoder out;
  for (int i = 0; i < 1000; ++i) out.symbol(intervals[i % 4]);
  const auto bytes = out.finish();
  RangeDecoder wrong(bytes, "message");
  int differences = 0;
  const auto read = [&] {
    for (int i = 0; i < 1000; ++i) differences += static_cast<int>(wrong.plain(2)) != i % 4 ? 1 : 0;
    wrong.finish();
  };
  CHECK_THROWS_AS(read(), FormatError);  // the message of two bits per symbol is longer or shorter
  CHECK(differences > 100);

  const std::span<const std::uint8_t> all(bytes);
  RangeDecoder too_short(all.first(all.size() - 1), "message");
  const auto read_all = [&] {
    for (int i = 0; i < 1000; ++i) too_short.symbol(intervals[i % 4]);
    too_short.finish();
  };
  CHECK_THROWS_AS(read_all(), FormatError);
  CHECK_THROWS_AS(RangeDecoder({}, "message"), FormatError);
}

TEST_CASE("bytes: 256 probabilities that add up to 1, each of at least 2^-24") {
  for (const double sigma : {1e-6, 0.00738457, 0.3, 50.0}) {
    for (const float mean : {-1.0f, -0.3f, 0.0f, 0.999f, 3.0f, std::nanf("")}) {
      const PixelCoder pixel(mean, sigma);
      std::uint32_t end = 0;
      for (int byte = 0; byte < 256; ++byte) {
        const Interval i = pixel.interval(static_cast<std::uint8_t>(byte));
        REQUIRE(i.begin == end);
        REQUIRE(i.size >= 1);
        REQUIRE(pixel.byte_at(i.begin) == byte);
        REQUIRE(pixel.byte_at(i.begin + i.size - 1) == byte);
        end = i.begin + i.size;
      }
      CHECK(end == 1u << PixelCoder::bits);
    }
  }
}

TEST_CASE("bytes: the price is that of the discretised normal distribution") {
  const auto centre = [](int byte) { return static_cast<float>(byte / 127.5 - 1.0); };
  // Closed forms by erf: 2 Phi(1 / (255 sigma)) - 1 inside, Phi(1 / (255 sigma)) at an edge.
  CHECK(PixelCoder(centre(77), 0.00738457).cost(77) == doctest::Approx(1.305378).epsilon(1e-4));
  CHECK(PixelCoder(centre(77), 0.01).cost(77) == doctest::Approx(1.712846).epsilon(1e-4));
  const double edge = -std::log2(phi(1.0 / (255.0 * 0.00738457)));
  CHECK(PixelCoder(-1.0f, 0.00738457).cost(0) == doctest::Approx(edge).epsilon(1e-4));
  CHECK(PixelCoder(1.0f, 0.00738457).cost(255) == doctest::Approx(edge).epsilon(1e-4));
  // A bin of the wrong width is noticed.
  CHECK(PixelCoder(centre(77), 2 * 0.00738457).cost(77) > 2.0);
}

TEST_CASE("samples: the candidate that is sent has exactly the law of q") {
  const Rng shared(3, Purpose::codec);
  const float shift = 1.5f, scale = 0.6f;
  std::vector<double> sent, nearest;
  for (std::uint64_t place = 1; place <= 4000; ++place) {
    const std::uint32_t k = choose_candidate(shared, place, {{&shift, 1}, {&scale, 1}}, 1u << 20);
    sent.push_back(candidate(shared, place, k, 1).item());
    // Negative control: of the first 64 candidates the one of the highest density.
    double best = 10.0;
    for (std::uint32_t other = 1; other <= 64; ++other) {
      const double z = candidate(shared, place, other, 1).item();
      if (std::abs(z - double{shift}) < std::abs(best - double{shift})) best = z;
    }
    if (place <= 500) nearest.push_back(best);
  }
  CHECK(distance_from_normal(sent, shift, scale) < 1.95);
  CHECK(distance_from_normal(nearest, shift, scale) > 5.0);
}

TEST_CASE("samples: the number costs KL + log2(KL + 1) + 4 bits at most") {
  const Rng shared(4, Purpose::codec);
  for (const double goal : {0.5, 3.0, 7.0}) {
    // 24 elements of the same shift and scale whose divergence adds up to the goal.
    const std::vector<float> scale(24, 0.9f);
    const double rest = goal / 24 - divergence(0.0f, 0.9f);
    const auto shift = static_cast<float>(std::sqrt(std::max(0.0, 2.0 * std::log(2.0) * rest)));
    const std::vector<float> shifts(24, shift);
    const double kl = 24 * divergence(shift, 0.9f);
    RangeEncoder out;
    NumberModel model;
    double log_k = 0.0;
    constexpr int samples = 600;
    for (std::uint64_t place = 1; place <= samples; ++place) {
      const auto limit = static_cast<std::uint32_t>(std::exp2(kl + 4.0));
      const std::uint32_t k = choose_candidate(shared, place, {shifts, scale}, limit);
      log_k += std::log2(k);
      code_number(out, model, k);
    }
    CAPTURE(kl);
    CHECK(log_k / samples <= kl + 1.0);
    CHECK(out.bits() / samples <= kl + std::log2(kl + 1.0) + 4.0);
    CHECK(out.bits() / samples >= kl - 1.0);  // not below what it tells
  }
}

TEST_CASE("samples: the divergence is the integral of q log q / p") {
  for (const auto& [shift, scale] : {std::pair(0.0, 0.5), {0.7, 0.9}, {-2.0, 1.3}}) {
    double integral = 0.0;
    const double step = 1e-3;
    for (double z = -20.0; z < 20.0; z += step) {
      const double log_q = -0.5 * (z - shift) * (z - shift) / (scale * scale) - std::log(scale);
      integral += step * std::exp(log_q) / std::sqrt(2.0 * M_PI) * (log_q + 0.5 * z * z);
    }
    CHECK(divergence(static_cast<float>(shift), static_cast<float>(scale)) ==
          doctest::Approx(integral / std::log(2.0)).epsilon(1e-5));
  }
}

TEST_CASE("blocks: both ends have the same sample, whose law is that of q") {
  constexpr std::int64_t d = 30;
  std::vector<float> shift(d), scale(d, 0.8f);
  for (std::size_t i = 0; i < d; ++i) shift[i] = i < 10 ? 1.0f : -0.2f;
  RangeEncoder out;
  BlockCoder<RangeEncoder> sender(out, 5, d, 6.0);
  const ImageTarget target = sender.target(shift.data(), scale.data());
  std::vector<std::vector<float>> sent;
  std::vector<double> first, total;
  std::uint32_t blocks = 1;
  for (std::uint64_t place = d; place < 500 * d; place += d) {
    sent.push_back(sender.sample(place, blocks, &target));
    for (std::size_t i = 0; i < 10; ++i) first.push_back(double{sent.back()[i]});
  }
  CHECK(blocks == static_cast<std::uint32_t>(std::ceil(target.divergence() / 6.0)));
  CHECK(distance_from_normal(first, 1.0, 0.8) < 1.95);
  const auto bytes = out.finish();

  RangeDecoder in(bytes, "message");
  BlockCoder<RangeDecoder> receiver(in, 5, d);
  blocks = 1;
  bool same = true;
  for (std::size_t n = 0; n < sent.size(); ++n) {
    same = same && receiver.sample((n + 1) * d, blocks) == sent[n];
  }
  CHECK(same);
  in.finish();

  // Another seed: other candidates under the same numbers.
  RangeDecoder again(bytes, "message");
  BlockCoder<RangeDecoder> stranger(again, 6, d);
  blocks = 1;
  CHECK(stranger.sample(d, blocks) != sent[0]);
  CHECK_THROWS_AS(BlockCoder<RangeEncoder>(out, 1, d, 0.0), ValueError);
  CHECK_THROWS_AS(BlockCoder<RangeEncoder>(out, 1, d, 17.0), ValueError);
}
