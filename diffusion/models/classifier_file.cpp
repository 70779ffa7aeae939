#include "diffusion/models/classifier_file.h"

#include <algorithm>

#include "autograd/engine.h"
#include "diffusion/models/config_json.h"
#include "nn/fingerprint.h"
#include "nn/flat.h"
#include "nn/safetensors.h"

namespace ito {
namespace {

constexpr auto classifier_card_fields = [](auto& card, const auto& f) {
  f("network", card.network);
  f("inputs", card.inputs);
  f("schedule", card.schedule);
  f("timesteps", card.timesteps);
  f("dataset", card.dataset);
  f("class_names", card.class_names);
  f("test_accuracy", card.test_accuracy);
};

}  // namespace

std::string ClassifierCard::to_json() const {
  return config_to_json(*this, classifier_card_fields);
}

ClassifierCard ClassifierCard::from_json(const std::string& text) {
  return config_from_json<ClassifierCard>("classifier", text, classifier_card_fields);
}

void ClassifierCard::validate() const {
  expect_range("classifier", "timesteps", timesteps, 1, 100'000);
}

void save_classifier(const std::string& path, Classifier& network, const ClassifierCard& card) {
  nn::save_safetensors(path, nn::named_parameters(network), {{"classifier", card.to_json()}});
}

LoadedClassifier load_classifier(const std::string& path, Device device) {
  const nn::SafeTensors file = nn::load_safetensors(path);
  LoadedClassifier loaded;
  loaded.card = card_of<ClassifierCard>(file, "classifier", "train_classifier");
  loaded.fingerprint = nn::fingerprint(file);
  Rng init(0, Purpose::init);
  loaded.network = std::make_unique<Classifier>(loaded.card.network, init);
  nn::assign_parameters(nn::named_parameters(*loaded.network), file);
  if (!device.is_cpu()) nn::FlatParameters(*loaded.network, device);
  return loaded;
}

std::vector<std::int64_t> classify(const Classifier& network, const Tensor& x_t, const Tensor& t) {
  const NoGrad no_grad;
  const std::vector<float> logits = network(x_t, t).to(Device::cpu()).to_vector<float>();
  std::vector<std::int64_t> classes;
  for (auto row = logits.begin(); row != logits.end(); row += network.config.classes) {
    classes.push_back(std::max_element(row, row + network.config.classes) - row);
  }
  return classes;
}

}  // namespace ito
