// The noise-aware classifier: its shapes, its file format, and that knowing the noise helps.
#include "diffusion/models/classifier.h"

#include <doctest/doctest.h>

#include "autograd/engine.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/loss.h"
#include "autograd/ops/reduce.h"
#include "data/batch.h"
#include "diffusion/models/classifier_file.h"
#include "nn/adam.h"
#include "nn/flat.h"
#include "nn/safetensors.h"
#include "tensor/error.h"
#include "tests/nn/temp_directory.h"
#include "tests/oracles/chain.h"

using namespace ito;
using test::Chain;

namespace {

const ClassifierConfig tiny{.image_size = 8, .base_channels = 8, .norm_groups = 4};

// Trained on x_t of every t, or on clean images and t = 0 alone.
Classifier trained(const data::Dataset& set, const Chain& process, bool noisy) {
  Rng init(1, Purpose::init), rng(1, Purpose::noise);
  Classifier classifier(tiny, init);
  nn::FlatParameters flat(classifier);
  nn::Adam adam(flat, {.lr = 1e-2});
  const data::BatchSampler batches(set.count(), 64, 1);
  for (std::int64_t step = 0; step < 250; ++step) {
    const auto indices = batches.indices_at(step);
    rng.seek(static_cast<std::uint64_t>(step));
    const Tensor x0 = data::gather_batch(set, indices);
    const Tensor t = noisy ? randint(rng, 0, process.schedule.timesteps(), {64})
                           : Tensor::zeros({64}, DType::i64);
    const Tensor x = noisy ? process.add_noise(x0, t, randn(rng, x0.shape())) : x0;
    flat.zero_grad();
    backward(cross_entropy(classifier(x, t), data::gather_labels(set, indices)));
    adam.step();
  }
  return classifier;
}

// The mean of -log p(label | x_t) over a set, at one t.
double surprise(const Classifier& classifier, const data::Dataset& set, const Chain& process,
                std::int64_t t) {
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < set.count(); ++i) all.push_back(i);
  Rng rng(2, Purpose::test);
  const Tensor x0 = data::gather_batch(set, all),
               when = Tensor::full({set.count()}, double(t), DType::i64);
  const Tensor x_t = process.add_noise(x0, when, randn(rng, x0.shape()));
  return cross_entropy(classifier(x_t, when), set.labels).item();
}

}  // namespace

TEST_CASE("classifier: features and logits have the shapes they promise") {
  Rng init(3, Purpose::init);
  Classifier classifier({.image_size = 28, .classes = 7}, init);
  CHECK(nn::parameter_count(classifier) == 119'623);
  const Tensor x = Tensor::zeros({2, 28, 28, 1}), t = Tensor::zeros({2}, DType::i64);
  CHECK(classifier.features(x, t).shape() == Shape{2, 64});
  CHECK(classifier.config.features() == 64);
  CHECK(classifier(x, t).shape() == Shape{2, 7});
  CHECK(max(abs(classifier(x, t))).item() == 0.0);  // starts by finding all classes equally likely
  CHECK(max(abs(classifier.features(x) - classifier.features(x, t))).item() == 0.0);
  CHECK_THROWS_AS(classifier(Tensor::zeros({2, 28, 28, 3}), t), ShapeError);
  CHECK_THROWS_AS(classifier(x, Tensor::zeros({3}, DType::i64)), ShapeError);
}

TEST_CASE("classifier: sees the timestep and every pixel, in odd sizes too") {
  Rng init(4, Purpose::init), rng(4, Purpose::test);
  Classifier classifier({.image_size = 9, .in_channels = 3, .base_channels = 8}, init);
  for (Tensor& p : nn::parameters(classifier)) p.assign(0.3 * randn(rng, p.shape()));
  const Tensor x = parameter(randn(rng, {1, 9, 9, 3}));
  const Tensor first = classifier.features(x, Tensor::zeros({1}, DType::i64));
  const Tensor later = classifier.features(x, Tensor::full({1}, 500, DType::i64));
  CHECK(max(abs(first - later)).item() > 1e-3);
  const Tensor gradient = grad(sum(first), {x})[0];
  for (const float g : gradient.to_vector<float>()) CHECK(g != 0.0f);
}

TEST_CASE("classifier: its configuration goes through JSON, and mistakes are named") {
  ClassifierConfig config;
  config.channel_multipliers = {1, 2, 3};
  config.classes = 5;
  CHECK(ClassifierConfig::from_json(config.to_json()) == config);
  CHECK_THROWS_AS(ClassifierConfig::from_json("[]"), FormatError);
  CHECK_THROWS_AS(ClassifierConfig::from_json("{}"), FormatError);
  std::string more = config.to_json();
  more.insert(1, "\"depth\":3,");
  CHECK_THROWS_WITH_AS(ClassifierConfig::from_json(more),
                       doctest::Contains("unknown key \"depth\""), FormatError);
  config.base_channels = 20;  // not a multiple of 8 groups
  CHECK_THROWS_AS(config.validate(), ValueError);
  config = {};
  config.image_size = 4;  // nothing would be left of the second level
  CHECK_THROWS_AS(config.validate(), ValueError);
}

TEST_CASE("classifier: a file brings back the network and what it was trained on") {
  const test::TempDirectory folder;
  const std::string path = (folder / "c.safetensors").string();
  Rng init(5, Purpose::init);
  Classifier classifier(tiny, init);
  const ClassifierCard card{tiny, ClassifierInputs::noisy, "cosine", 50, "mnist", {"a", "b"}, 0.5};
  save_classifier(path, classifier, card);
  const LoadedClassifier back = load_classifier(path);
  CHECK(back.card.to_json() == card.to_json());
  CHECK(back.card.class_names == card.class_names);
  const Tensor x = randn(init, {2, 8, 8, 1}), t = Tensor::from<std::int64_t>({0, 49}, {2});
  CHECK(back.network->features(x, t).to_vector<float>() ==
        classifier.features(x, t).to_vector<float>());

  CHECK_THROWS_AS(load_classifier((folder / "none").string()), IoError);
  const auto refused = [&](const std::string& from, const std::string& to) {
    std::string text = card.to_json();
    text.replace(text.find(from), from.size(), to);
    nn::save_safetensors(path, nn::named_parameters(classifier), {{"classifier", text}});
    try {
      load_classifier(path);
    } catch (const FormatError& e) {
      const std::string what = e.what();
      CHECK(what.starts_with(path + ": classifier"));
      return what.substr(path.size() + 2);
    }
    return std::string("accepted");
  };
  CHECK(refused("\"noisy\"", "\"loud\"") ==
        "classifier config: inputs must be one of clean, noisy; got \"loud\"");
  CHECK(refused(":50", ":0") == "classifier: timesteps must be in [1, 100000]; got 0");
  CHECK(refused("[\"a\",\"b\"]", "7") ==
        "classifier config: class_names must be a list of strings; got 7");
  CHECK(refused("\"dataset\"", "\"data\"") == "classifier config: dataset is missing");
}

TEST_CASE("classifier: trained on noisy images it beats one of clean images where there is noise") {
  const data::Dataset set = data::make_synthetic(1024, 0, {.size = 8});
  const data::Dataset test = data::make_synthetic(256, 0, {.size = 8, .first = 1024});
  const Chain process{NoiseSchedule::linear(1000)};
  const Classifier noisy = trained(set, process, true), clean = trained(set, process, false);
  CHECK(surprise(clean, test, process, 0) < 1.5);  // log 10 = 2.3: it has learnt
  CHECK(surprise(clean, test, process, 0) < surprise(noisy, test, process, 0));
  for (const std::int64_t t : {300, 500, 800}) {
    CHECK(surprise(noisy, test, process, t) < surprise(clean, test, process, t) - 0.2);
  }
}
