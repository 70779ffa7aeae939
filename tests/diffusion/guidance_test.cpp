// Guidance against Gaussian mixtures, whose classes are their components: the conditional and the
// unconditional score and the classifier of noisy data are all known.
#include "diffusion/denoiser/guidance.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/indexing.h"
#include "autograd/ops/layout.h"
#include "autograd/ops/reduce.h"
#include "diffusion/denoiser/thresholding.h"
#include "diffusion/models/classifier.h"
#include "diffusion/models/unet.h"
#include "diffusion/sampling/samplers.h"
#include "nn/flat.h"
#include "tensor/error.h"
#include "tests/compare.h"
#include "tests/devices.h"
#include "tests/oracles/gaussian_mixture.h"

using namespace ito;
using oracle::exact_denoiser;
using oracle::GaussianMixture;
using test::Chain;
using test::max_difference;
using test::same_bits;

namespace {

const GaussianMixture mixture{
    {.5, .3, .2}, {{-1, 0}, {1, 1}, {.5, -1.5}}, {{.5, 1}, {1, .3}, {.4, .4}}};
constexpr std::int64_t null_label = 3;

Condition any(std::int64_t n) { return same_label(null_label, n); }

// The best class-conditional network: each row that of its component, or of the whole mixture.
ConditionalNetwork exact_labelled(const Chain& process, const GaussianMixture& data) {
  return [=](const Tensor& x_t, const Tensor& t, const Condition& condition) {
    const Tensor chosen = one_hot(condition.labels, data.components() + 1, x_t.dtype());
    Tensor y = process.output(exact_denoiser(process, data), x_t, t);
    for (std::int64_t k = 0; k < data.components(); ++k) {
      const auto component = data.component(static_cast<std::size_t>(k));
      const Tensor of_k = process.output(exact_denoiser(process, component), x_t, t);
      y = where(slice(chosen, 1, k, k + 1), of_k, y);
    }
    return y;
  };
}

// The network that does not know classes.
Network exact_network(const Chain& process) {
  return [=](const Tensor& x_t, const Tensor& t) {
    return process.output(exact_denoiser(process, mixture), x_t, t);
  };
}

// log p(component | x_t).
NoisyClassifier exact_classifier(const Chain& process, const GaussianMixture& data) {
  return [=](const Tensor& x_t, const Tensor& t) {
    return log(data.responsibilities(x_t, process.levels(t, x_t)));
  };
}

// Noisy data at all strengths, with labels that have nothing to do with them.
struct Batch {
  Tensor x_t, t, labels;
};
Batch draw(const Chain& process, std::int64_t n = 64) {
  Rng rng(5, Purpose::test);
  const Tensor x0 = mixture.draw(rng, n);
  const Tensor t = randint(rng, 0, process.schedule.timesteps(), {n});
  return {process.add_noise(x0, t, randn(rng, x0.shape(), DType::f64)), t,
          randint(rng, 0, mixture.components(), {n})};
}

// p(label | x_0), averaged over the samples.
double certainty(const Tensor& x0, std::int64_t label) {
  const Levels clean{{}, Tensor::scalar(1.0, DType::f64), Tensor::scalar(0.0, DType::f64)};
  return mean(slice(mixture.responsibilities(x0, clean), 1, label, label + 1)).item();
}

double spread(const Tensor& x) {
  return sum(mean(square(x - mean(x, {0}, /*keep_dims=*/true)), {0})).item();
}

}  // namespace

TEST_CASE("guidance: the score and the classifier's gradient make the conditional score") {
  for (const auto prediction : {Prediction::epsilon, Prediction::x0, Prediction::v}) {
    CAPTURE(name_of(prediction));
    const Chain process{NoiseSchedule::linear(), prediction};
    const Batch b = draw(process);
    const Levels levels = process.levels(b.t, b.x_t);
    const Denoiser model = process.denoiser(exact_network(process));
    const NoisyClassifier classifier = exact_classifier(process, mixture);
    const auto eps_of = [&](const Denoiser& denoiser) { return denoiser(b.x_t, levels).eps; };
    const auto led = [&](const Tensor& labels) {
      return eps_of(shifted(model, classifier_guidance(classifier, labels, 1.0)));
    };
    const Tensor wanted =
        eps_of(process.denoiser(conditional(exact_labelled(process, mixture), {b.labels})));
    CHECK(max_difference(led(b.labels), wanted) < 1e-11);

    // Another label, or the gradient taken for a change of eps without its sigma, does not.
    CHECK(max_difference(led(Tensor::full(b.labels.shape(), 0, DType::i64)), wanted) > 0.1);
    const Tensor shift = classifier_guidance(classifier, b.labels, 1.0)(b.x_t, levels);
    CHECK(max_difference(eps_of(model) - shift, wanted) > 0.1);
  }
}

TEST_CASE("guidance: with and without a classifier are one for the same scale") {
  for (const auto prediction : {Prediction::epsilon, Prediction::x0, Prediction::v}) {
    const Chain process{NoiseSchedule::linear(), prediction};
    const Batch b = draw(process);
    const Levels levels = process.levels(b.t, b.x_t);
    const ConditionalNetwork network = exact_labelled(process, mixture);
    const NoisyClassifier classifier = exact_classifier(process, mixture);
    for (const double scale : {0.0, 0.3, 1.0, 3.0}) {
      CAPTURE(name_of(prediction));
      CAPTURE(scale);
      const auto by_classifier = [&](double s) {
        return shifted(process.denoiser(exact_network(process)),
                       classifier_guidance(classifier, b.labels, s))(b.x_t, levels)
            .eps;
      };
      const Tensor without = process
                                 .denoiser(classifier_free_guidance(network, {b.labels}, any(64),
                                                                    scale))(b.x_t, levels)
                                 .eps;
      CHECK(max_difference(without, by_classifier(scale)) < 1e-11);
      CHECK(max_difference(without, by_classifier(scale - 1.0)) > 0.1);  // w taken for 1 + w
    }
  }
}

TEST_CASE("guidance: gamma = 1 + w, exact at 0 and 1") {
  Rng rng(6, Purpose::test);
  const Tensor u = randn(rng, {1000}, DType::f64), c = randn(rng, {1000}, DType::f64);
  for (const double w : {-1.0, -0.4, 0.0, 2.0, 7.5}) {
    CHECK(max_difference(classifier_free_guidance(u, c, 1.0 + w), (1.0 + w) * c - w * u) < 1e-14);
    CHECK(max_difference(classifier_free_guidance(u, c, w + 1.001), (1.0 + w) * c - w * u) > 1e-4);
  }
  CHECK(same_bits(classifier_free_guidance(u, c, 1.0), c));
  CHECK(same_bits(classifier_free_guidance(u, c, 0.0), u));
  CHECK_FALSE(same_bits(u + 1.0 * (c - u), c));  // the other way to write it
}

TEST_CASE("guidance: gamma 1 is the conditional network, 0 the unconditional, asked once") {
  const Chain process{NoiseSchedule::cosine(100)};
  const Batch b = draw(process);
  std::int64_t asked = 0;
  const ConditionalNetwork network = [&](const Tensor& x_t, const Tensor& t,
                                         const Condition& asked_for) {
    asked += x_t.size(0);
    return exact_labelled(process, mixture)(x_t, t, asked_for);
  };
  CHECK(same_bits(classifier_free_guidance(network, {b.labels}, any(64), 1.0)(b.x_t, b.t),
                  exact_labelled(process, mixture)(b.x_t, b.t, {b.labels})));
  CHECK(same_bits(classifier_free_guidance(network, {b.labels}, any(64), 0.0)(b.x_t, b.t),
                  exact_network(process)(b.x_t, b.t)));
  CHECK(asked == 2 * b.x_t.size(0));
}

TEST_CASE("guidance: one pass of twice the batch and two passes give the same bits") {
  const Chain process{NoiseSchedule::cosine(100)};
  const Batch b = draw(process);
  std::vector<std::int64_t> batches;
  // Learns the variance too: the second half of the channels, different for each label.
  const ConditionalNetwork network = [&](const Tensor& x_t, const Tensor& t,
                                         const Condition& asked_for) {
    batches.push_back(x_t.size(0));
    const Tensor y = exact_labelled(process, mixture)(x_t, t, asked_for);
    const Tensor of_label = reshape(cast(asked_for.labels, y.dtype()), Shape{y.size(0), 1});
    return concat({y, 0.0 * y + of_label});
  };
  const Tensor one =
      classifier_free_guidance(network, {b.labels}, any(64), 2.5, GuidancePasses::one)(b.x_t, b.t);
  const Tensor two =
      classifier_free_guidance(network, {b.labels}, any(64), 2.5, GuidancePasses::two)(b.x_t, b.t);
  CHECK(same_bits(one, two));
  CHECK(batches == std::vector<std::int64_t>{128, 64, 64});
  // The prediction is guided, the variance is that of the label.
  const ConditionalNetwork only = exact_labelled(process, mixture);
  CHECK(same_bits(slice(one, 1, 0, 2),
                  classifier_free_guidance(only, {b.labels}, any(64), 2.5)(b.x_t, b.t)));
  CHECK(same_bits(slice(one, 1, 2, 3), reshape(cast(b.labels, DType::f64), Shape{64, 1})));
}

TEST_CASE("guidance: a U-Net gives the same bits in one pass and in two") {
  UNetConfig config;
  config.image_size = 8;
  config.base_channels = 8;
  config.channel_multipliers = {1, 2};
  config.attention_resolutions = {4};
  config.norm_groups = 4;
  config.num_classes = 3;
  Rng init(13, Purpose::init), rng(13, Purpose::test);
  UNet unet(config, init);
  for (Tensor& p : nn::parameters(unet)) p.assign(0.2 * randn(rng, p.shape()));
  const Tensor x_t = randn(rng, {5, 8, 8, 1}), t = randint(rng, 0, 100, {5});
  const Tensor labels = Tensor::from<std::int64_t>({2, 0, 1, 1, 3}, {5});
  const auto output = [&](double gamma, GuidancePasses passes) {
    return classifier_free_guidance(std::cref(unet), {labels}, any(5), gamma, passes)(x_t, t);
  };
  const Tensor one = output(4.0, GuidancePasses::one);
  CHECK(same_bits(one, output(4.0, GuidancePasses::two)));
  CHECK(max_difference(one, output(1.0, GuidancePasses::one)) > 0.1);
  // The last one asks for no class in particular: guidance has nowhere to lead it.
  const Tensor unguided = output(0.0, GuidancePasses::one);
  CHECK(max_difference(slice(one, 0, 4, 5), slice(unguided, 0, 4, 5)) < 1e-5);
}

TEST_CASE("guidance: a classifier's scale 0 changes no bit of any sample") {
  const Chain process{NoiseSchedule::linear(100)};
  const Denoiser network = exact_denoiser(process, mixture);
  Rng rng(7);
  const Tensor x_T = randn(rng, {16, 2}, DType::f64);
  const Tensor labels = Tensor::full({16}, 1, DType::i64);
  const auto at_scale = [&](double scale) {
    return shifted(network, classifier_guidance(exact_classifier(process, mixture), labels, scale));
  };
  const Tensor plain = sample_ddim(process.denoiser(network), x_T, process.walk(10), rng);
  CHECK(same_bits(sample_ddim(process.denoiser(at_scale(0.0)), x_T, process.walk(10), rng), plain));
  CHECK(max_difference(sample_ddim(process.denoiser(at_scale(1.0)), x_T, process.walk(10), rng),
                       plain) > 0.1);
}

TEST_CASE(
    "guidance: samples at gamma 1 are the component; with gamma certainty rises, variety falls") {
  const Chain process{NoiseSchedule::cosine(400), Prediction::v};
  const ConditionalNetwork network = exact_labelled(process, mixture);
  constexpr std::int64_t n = 4000, label = 1;
  const Tensor labels = Tensor::full({n}, label, DType::i64);
  Rng rng(8);
  const Tensor x_T = randn(rng, {n, 2}, DType::f64);
  const auto sample = [&](double gamma) {
    return sample_ddim(process.denoiser(classifier_free_guidance(network, {labels}, any(n), gamma)),
                       x_T, process.walk(50), rng);
  };
  const Tensor free = sample(0.0), conditional_ones = sample(1.0), guided_ones = sample(3.0);

  const GaussianMixture wanted = mixture.component(label);
  const auto m = mean(conditional_ones, {0}).to_vector<double>();
  for (std::size_t i = 0; i < 2; ++i) {
    const double standard_error = std::sqrt(wanted.variances[0][i] / n);
    CHECK(std::abs(m[i] - wanted.means[0][i]) < 4.0 * standard_error + 0.01);
  }
  CHECK(spread(conditional_ones) == doctest::Approx(1.3).epsilon(0.06));

  CHECK(certainty(free, label) == doctest::Approx(0.3).epsilon(0.1));
  CHECK(certainty(conditional_ones, label) > certainty(free, label) + 0.2);
  CHECK(certainty(guided_ones, label) > certainty(conditional_ones, label) + 0.1);
  CHECK(spread(guided_ones) < 0.7 * spread(conditional_ones));
}

TEST_CASE("guidance: DDPM's mean moves by the variance times the classifier's gradient") {
  const Chain process{NoiseSchedule::linear(100)};
  const Denoiser network = exact_denoiser(process, mixture);
  const Tensor labels = Tensor::full({8}, 2, DType::i64);
  const ScoreShift shift = classifier_guidance(exact_classifier(process, mixture), labels, 2.0);
  Rng rng(9);
  const Tensor x_T = randn(rng, {8, 2}, DType::f64);
  const auto watch = [&](const SampleStep& step) {
    const Levels levels = same_level(step.from, step.x_t);
    const PosteriorStep q = posterior_step(step.from, step.to);
    Rng again(9);
    again.seek(static_cast<std::uint64_t>(step.from.time) + 1);  // the contract of samplers.h
    const Tensor z = randn(again, x_T.shape(), DType::f64);
    const double variance = step.from.time == 0
                                ? 0.0
                                : process.schedule.beta(static_cast<std::int64_t>(step.from.time));
    const Tensor mean_of = q.weight_x0 * step.x0 + q.weight_x_t * step.x_t;
    const Tensor moved = step.x_next - std::sqrt(variance) * z - mean_of;
    CHECK(max_difference(moved, variance * shift(step.x_t, levels)) < 1e-13);
    // Moving eps instead moves the mean by beta / sqrt(alpha) times the gradient: another step.
    const Tensor by_eps = variance / std::sqrt(1.0 - variance) * shift(step.x_t, levels);
    if (step.from.time > 50) CHECK(max_difference(moved, by_eps) > 1e-6);
  };
  sample_ddpm(process.denoiser(network), x_T, process.walk(), rng,
              {.shift_mean = shift, .loop = {.observer = watch}});
}

TEST_CASE("guidance: DDPM shifted by an exact classifier draws from the component") {
  const Chain process{NoiseSchedule::linear(200, 5e-4, 0.1)};
  constexpr std::int64_t n = 2000, label = 1;
  const Tensor labels = Tensor::full({n}, label, DType::i64);
  Rng rng(10);
  const Tensor x_T = randn(rng, {n, 2}, DType::f64);
  const auto sample = [&](double scale) {
    return sample_ddpm(
        process.denoiser(exact_denoiser(process, mixture)), x_T, process.walk(), rng,
        {.shift_mean = classifier_guidance(exact_classifier(process, mixture), labels, scale)});
  };
  const Tensor x = sample(1.0);
  const auto m = mean(x, {0}).to_vector<double>();
  for (const double one : m) CHECK(std::abs(one - 1.0) < 4.0 / std::sqrt(double(n)) + 0.03);
  CHECK(spread(x) == doctest::Approx(1.3).epsilon(0.1));
  CHECK(certainty(sample(0.0), label) == doctest::Approx(0.3).epsilon(0.1));
}

TEST_CASE("guidance: a guided step can be recorded, and on the device gives the CPU's samples") {
  const Chain process{NoiseSchedule::cosine(20), Prediction::v};
  Rng init(11, Purpose::init), rng(11);
  Tensor wanted;
  for (const Device device : testing::devices()) {
    Classifier classifier({.image_size = 8, .classes = 3, .base_channels = 8}, init);
    Rng weights(12, Purpose::test);
    for (Tensor& p : nn::parameters(classifier)) p.assign(0.2 * randn(weights, p.shape()));
    nn::FlatParameters(classifier, device);
    const Tensor labels = Tensor::from<std::int64_t>({0, 1, 2}, {3}).to(device);
    const ConditionalNetwork network = [](const Tensor& x_t, const Tensor&,
                                          const Condition& asked) {
      return 0.1 * x_t * append_dims(cast(asked.labels, x_t.dtype()), x_t);
    };
    const Denoiser led = process.denoiser(
        classifier_free_guidance(network, {labels}, same_label(3, 3, device), 2.0));
    const Denoiser model = thresholded(shifted(led, classifier_guidance(classifier, labels, 0.5)),
                                       dynamic_threshold(0.9));
    const Tensor x_T = randn(rng, {3, 8, 8, 1}, DType::f32, device);
    rng.seek(0);
    const auto sample = [&](bool graph) {
      const DdimOptions options{.eta = 1.0, .loop = {.graph = graph}};
      return sample_ddim(model, x_T, process.walk(5), rng, options).to(Device::cpu());
    };
    const Tensor x = sample(true);
    CHECK(same_bits(x, sample(false)));
    if (!wanted.defined()) wanted = x;
    CHECK(max_difference(x, wanted) < 1e-4);
    CHECK(max(abs(x)).item() > 0.1);
  }
}

TEST_CASE("guidance: labels that do not fit the batch are refused") {
  const Chain process{NoiseSchedule::linear(10)};
  const ConditionalNetwork network = exact_labelled(process, mixture);
  const Tensor x = Tensor::zeros({4, 2}, DType::f64), t = Tensor::zeros({4}, DType::i64);
  const Tensor three = Tensor::zeros({3}, DType::i64);
  const char* text = "labels must be [4]; got labels i64[3] on cpu";
  CHECK_THROWS_WITH_AS(conditional(network, {three})(x, t),
                       (std::string("conditional: ") + text).c_str(), ShapeError);
  CHECK_THROWS_AS(classifier_free_guidance(network, {three}, any(3), 2.0)(x, t), ShapeError);
  CHECK_THROWS_AS(
      classifier_guidance(exact_classifier(process, mixture), three, 1.0)(x, process.levels(t, x)),
      ShapeError);
  CHECK_THROWS_AS(conditional(network, {Tensor::zeros({4})})(x, t), DTypeError);
}
