// Images through a diffusion model and back, with the exact denoiser of a mixture of small pictures
// as the network: every price has an answer from elsewhere.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "data/batch.h"
#include "data/dataset.h"
#include "diffusion/denoiser/thresholding.h"
#include "diffusion/likelihood/codec/container.h"
#include "diffusion/likelihood/codec/diffusion_codec.h"
#include "diffusion/likelihood/variational_bound.h"
#include "diffusion/sampling/spacing.h"
#include "tensor/error.h"
#include "tensor/parallel.h"
#include "tests/oracles/gaussian_mixture.h"

using namespace ito;
using codec::Container, codec::Message, codec::Progress, codec::Settings;
using oracle::GaussianMixture;
using test::Chain;

namespace {

constexpr std::int64_t side = 8, d = side * side;

// Ten pictures, each of which stands for a normal distribution about it.
GaussianMixture small_pictures(double variance) {
  data::SyntheticOptions shapes;
  shapes.size = side;
  const data::Dataset set = data::make_synthetic(10, 3, shapes);
  GaussianMixture mixture;
  for (std::int64_t n = 0; n < 10; ++n) {
    std::vector<double> mean;
    for (const float x : data::gather_batch(set, {n}).to_vector<float>())
      mean.push_back(0.6 * double{x});
    mixture.weights.push_back(0.1);
    mixture.means.push_back(mean);
    mixture.variances.emplace_back(d, variance);
  }
  return mixture;
}

struct Model {
  NoiseSchedule schedule;
  Denoiser denoiser;
};

// The exact denoiser of the mixture for images f32 [N, 8, 8, 1], over some of the timesteps.
Model exact_model(const GaussianMixture& data, std::int64_t steps) {
  const Chain process{NoiseSchedule::cosine(), Prediction::x0};
  const Denoiser exact = oracle::exact_denoiser(process, data);
  const Denoiser images = [exact](const Tensor& x, const Levels& levels) {
    const Tensor flat = cast(reshape(x, Shape{x.size(0), d}), DType::f64);
    const auto wide = [&](const Tensor& v) {
      return reshape(cast(v, DType::f64), Shape{v.numel(), 1});
    };
    const Denoised all =
        exact(flat, {cast(levels.time, DType::f64), wide(levels.alpha), wide(levels.sigma)});
    const Tensor x0 = reshape(cast(all.x0, x.dtype()), x.shape());
    return Denoised{x0, epsilon_from_x0(x0, x, levels), {}};
  };
  // Timesteps in about equal steps of log(sigma / alpha).
  std::vector<std::int64_t> visited;
  for (const Level& level : sampling_levels(process.schedule, steps, Spacing::log_snr)) {
    if (level.is_clean()) break;
    const auto t = static_cast<std::int64_t>(std::lround(level.time));
    visited.push_back(visited.empty() ? t : std::min(t, visited.back() - 1));
  }
  std::reverse(visited.begin(), visited.end());
  return {process.schedule.respaced(visited), images};
}

Tensor draw(const GaussianMixture& data, std::int64_t n, std::uint64_t seed = 1) {
  Rng rng(seed, Purpose::test);
  return data::to_bytes(cast(reshape(data.draw(rng, n), Shape{n, side, side, 1}), DType::f32));
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

struct Sent {
  Message message;
  std::vector<Progress> progress;
};

Sent send(const Model& model, const Tensor& images, const Settings& settings,
          double block_bits = 7.0) {
  Sent sent;
  sent.message = codec::send(model.schedule, model.denoiser, images, settings,
                             {.block_bits = block_bits,
                              .observer = [&](const Progress& p) { sent.progress.push_back(p); }});
  return sent;
}

Tensor receive(const Model& model, const Message& message) {
  return codec::receive(model.schedule, model.denoiser, message);
}

}  // namespace

TEST_CASE("codec: every byte comes back, for every variance, grouping and number of threads") {
  const GaussianMixture data = small_pictures(0.01);
  const Model model = exact_model(data, 10);
  const Tensor images = draw(data, 5);
  for (const auto variance :
       {ReverseVariance::beta, ReverseVariance::beta_tilde, ReverseVariance::analytic}) {
    for (const std::int64_t group : {2, 5}) {
      const Settings settings{.seed = 7, .group = group, .variance = variance};
      set_num_threads(1);
      const Message one = send(model, images, settings).message;
      CHECK(same(receive(model, one), images));
      set_num_threads(3);
      CHECK(send(model, images, settings).message.bytes == one.bytes);
      CHECK(same(receive(model, one), images));
    }
  }
}

TEST_CASE("codec: a network that learns the variance sends with it") {
  const GaussianMixture data = small_pictures(0.01);
  const Model exact = exact_model(data, 10);
  const Model learned{exact.schedule, [&](const Tensor& x, const Levels& levels) {
                        Denoised denoised = exact.denoiser(x, levels);
                        denoised.variance = Tensor::full(x.shape(), 0.5);
                        return denoised;
                      }};
  const Tensor images = draw(data, 2);
  const Message message = send(learned, images, {.variance = ReverseVariance::learned}).message;
  CHECK(same(receive(learned, message), images));
  CHECK_THROWS_AS(receive(exact, message), ValueError);
}

TEST_CASE("codec: pictures that the model has never seen come back too") {
  const Model model = exact_model(small_pictures(0.001), 6);
  Rng rng(1, Purpose::test);
  const Tensor noise = cast(randint(rng, 0, 256, {2, side, side, 1}), DType::u8);
  const Message message = send(model, noise, {}, 4.0).message;
  CHECK(same(receive(model, message), noise));
}

TEST_CASE("codec: what is sent is the variational bound, and that is more than the entropy") {
  const GaussianMixture data = small_pictures(0.01);
  const Model model = exact_model(data, 12);
  constexpr std::int64_t n = 40;
  const Tensor images = draw(data, n);
  const Tensor x0 = data::from_bytes(images);
  const auto bound = [&](ReverseVariance variance) {
    const VariationalBound b(model.schedule,
                             {.variance = variance, .decoder = DiscretizedLikelihood::erf_bins});
    return b.evaluate(thresholded(model.denoiser, clip_x0), x0, Rng(3, Purpose::noise));
  };
  const BoundTable table = bound(ReverseVariance::beta);
  const double vlb = table.bits_per_dimension() * d * n;
  const Sent sent = send(model, images, {.group = n, .variance = ReverseVariance::beta});
  const Progress& end = sent.progress.back();
  REQUIRE(end.t == -1);
  // The divergences on the path that was sent, and those of the bound on paths of its own.
  CHECK(end.divergence == doctest::Approx(vlb).epsilon(0.02));
  CHECK(std::abs(bound(ReverseVariance::beta_tilde).bits_per_dimension() * d * n / vlb - 1) > 0.04);

  // A block costs KL + log2(KL + 1) + 4 bits at most; with as many bits in each it is the most.
  const auto blocks = static_cast<double>(end.blocks);
  CHECK(end.bits <= end.divergence + blocks * (std::log2(end.divergence / blocks + 1.0) + 4.0));
  CHECK(8.0 * static_cast<double>(sent.message.bytes.size()) <= end.bits + 16.0);
  // And nothing is shorter than the entropy of the pictures: their density times the bin's size.
  const Levels clean{{}, Tensor::scalar(1.0, DType::f64), Tensor::scalar(0.0, DType::f64)};
  const Tensor density = data.log_density(cast(reshape(x0, Shape{n, d}), DType::f64), clean);
  const double entropy =
      (-sum(density).item() - static_cast<double>(n * d) * std::log(2.0 / 255.0)) / std::log(2.0);
  CHECK(end.divergence > entropy);
  CHECK(end.bits > entropy);
  CHECK(end.bits < 1.7 * entropy);  // with small blocks, for a fast test

  // The sender's own choice of the variances is worth more than it costs.
  const Sent chosen = send(model, images, {.group = n});
  CHECK(chosen.progress.back().bits < end.bits);
}

TEST_CASE("codec: more bits, less distortion, and never less than Shannon asks for") {
  const double s2 = 0.04;
  const GaussianMixture data = GaussianMixture::gaussian(0.0, s2, d);
  const Model model = exact_model(data, 16);
  const Tensor images = draw(data, 16);
  const Sent sent = send(model, images, {.group = 16});
  const double elements = 16.0 * d;
  const double drawn = mean(square(data::from_bytes(images))).item();  // near s2
  double bits = 0.0, distortion = 1.0;
  for (const Progress& p : sent.progress) {
    CAPTURE(p.t);
    CHECK(p.bits >= bits);
    CHECK(p.mean_square <= distortion * 1.01);
    bits = p.bits, distortion = p.mean_square;
    // Distortions near that of rounding to bytes are not those of a continuous source.
    if (p.mean_square < 1e-4) continue;
    const double shannon = 0.5 * std::log2(drawn / p.mean_square);
    CHECK(p.bits / elements >= shannon);
    // The exact network wastes nothing: the divergence is the mutual information of x_0 and x_t.
    CHECK(p.divergence / elements >= 0.97 * shannon - 0.005);
    CHECK(p.divergence / elements <= 1.10 * shannon + 0.02);
  }
  // A quarter less would lie below the bound.
  const Progress& middle = sent.progress[sent.progress.size() / 2];
  CHECK(0.75 * middle.divergence / elements < 0.5 * std::log2(drawn / middle.mean_square));
}

TEST_CASE("codec: without the last steps the result is the estimate of x_0 there") {
  const GaussianMixture data = small_pictures(0.01);
  const Model model = exact_model(data, 10);
  const Tensor images = draw(data, 4);
  double before = 1.0;
  for (const std::int64_t last : {9, 5, 0}) {
    const Sent sent = send(model, images, {.last = last});
    CHECK(sent.progress.back().t == last);
    const Tensor result = receive(model, sent.message);
    const double error = mean(square(data::from_bytes(result) - data::from_bytes(images))).item();
    CHECK(error == doctest::Approx(sent.progress.back().mean_square).epsilon(0.02).scale(1e-3));
    CHECK(error < before);
    before = error;
  }
}

TEST_CASE("codec: settings and images that cannot be sent are refused") {
  const Model model = exact_model(small_pictures(0.01), 4);
  const Tensor images = draw(small_pictures(0.01), 1);
  CHECK_THROWS_AS(send(model, images, {.group = 0}), ValueError);
  CHECK_THROWS_AS(send(model, images, {.last = 4}), ValueError);
  CHECK_THROWS_AS(send(model, images, {.last = -2}), ValueError);
  CHECK_THROWS_AS(send(model, images, {}, 0.0), ValueError);
  CHECK_THROWS_AS(send(model, data::from_bytes(images), {}), DTypeError);
  CHECK_THROWS_AS(send(model, images.view({side, side, 1}), {}), ShapeError);
}

TEST_CASE("container: comes back whole, and any damage is noticed") {
  const GaussianMixture data = small_pictures(0.01);
  const Model model = exact_model(data, 6);
  const Tensor images = draw(data, 3);
  Container file;
  file.message = send(model, images, {.seed = 300, .group = 2}).message;
  file.steps = 6;
  file.fingerprint = 0x0123456789abcdef;
  file.probe = codec::probe(model.schedule, model.denoiser, {1, side, side, 1});
  file.images_crc = codec::crc32_of(images);
  const auto bytes = file.bytes();
  CHECK(bytes.size() < file.message.bytes.size() + 45);

  const Container read = Container::parse(bytes, "file");
  CHECK(read.bytes() == bytes);
  CHECK(read.message.shape == images.shape());
  CHECK(read.message.settings.seed == 300);
  codec::expect_network(read, 0x0123456789abcdef, "file");
  CHECK_THROWS_AS(codec::expect_network(read, 0x0123456789abcdee, "file"), FormatError);
  CHECK(same(codec::unpack(read, model.schedule, model.denoiser, "file"), images));

  for (std::size_t size = 0; size < bytes.size(); ++size) {
    REQUIRE_THROWS_AS(Container::parse(std::span(bytes).first(size), "file"), FormatError);
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto damaged = bytes;
    damaged[i] ^= static_cast<std::uint8_t>(1u << i % 8);
    REQUIRE_THROWS_AS(Container::parse(damaged, "file"), FormatError);
  }

  // A network whose output differs in the last bits only is noticed before anything is decoded.
  const Denoiser other = [&](const Tensor& x, const Levels& levels) {
    Denoised denoised = model.denoiser(x, levels);
    denoised.x0 = denoised.x0 * (1.0 + 1e-6);
    return denoised;
  };
  CHECK_THROWS_WITH_AS(codec::unpack(read, model.schedule, other, "file"),
                       doctest::Contains("another build, machine or device"), FormatError);
  // Without that check its images would be wrong, which the last checksum would show.
  Container forged = read;
  forged.probe = codec::probe(model.schedule, other, {1, side, side, 1});
  CHECK_THROWS_AS(codec::unpack(forged, model.schedule, other, "file"), FormatError);
}

TEST_CASE("codec: a damaged message gives other images or an error, nothing worse") {
  const GaussianMixture data = small_pictures(0.01);
  const Model model = exact_model(data, 4);
  const Tensor images = draw(data, 1);
  const Message message = send(model, images, {}, 5.0).message;
  int noticed = 0;
  for (std::size_t i = 0; i < message.bytes.size(); ++i) {
    Message damaged = message;
    damaged.bytes[i] ^= 0x55;
    try {
      noticed += same(receive(model, damaged), images) ? 0 : 1;
    } catch (const FormatError&) {
      ++noticed;
    }
  }
  CHECK(noticed >= static_cast<int>(message.bytes.size()) - 1);
}
