#include "examples/app/classifier_file.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "autograd/engine.h"
#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "nn/fingerprint.h"
#include "nn/flat.h"
#include "nn/json_text.h"
#include "nn/safetensors.h"

namespace ito::app {
namespace {

using Json = nlohmann::ordered_json;

LoadedClassifier load(const std::string& path, Device device) {
  const nn::SafeTensors file = nn::load_safetensors(path);
  const auto card = file.metadata.find("classifier");
  if (card == file.metadata.end()) {
    fail<FormatError>("{}: not a classifier; only files made by train_classifier can be used",
                      path);
  }
  LoadedClassifier loaded;
  loaded.card = ClassifierCard::from_json(card->second, path);
  loaded.fingerprint = nn::fingerprint(file);
  Rng init(0, Purpose::init);
  loaded.network = std::make_unique<Classifier>(loaded.card.network, init);
  nn::assign_parameters(nn::named_parameters(*loaded.network), file);
  if (!device.is_cpu()) nn::FlatParameters(*loaded.network, device);
  return loaded;
}

}  // namespace

std::string ClassifierCard::to_json() const {
  return Json{{"network", Json::parse(network.to_json())},
              {"inputs", inputs},
              {"schedule", schedule},
              {"timesteps", timesteps},
              {"dataset", dataset},
              {"class_names", class_names},
              {"test_accuracy", test_accuracy}}
      .dump();
}

ClassifierCard ClassifierCard::from_json(const std::string& text, const std::string& file) {
  ClassifierCard card;
  try {
    const Json j = nn::parse_json<Json>(text);
    card.network = ClassifierConfig::from_json(j.at("network").dump());
    card.inputs = j.at("inputs").get<std::string>();
    card.schedule = j.at("schedule").get<std::string>();
    card.timesteps = j.at("timesteps").get<std::int64_t>();
    card.dataset = j.at("dataset").get<std::string>();
    card.class_names = j.at("class_names").get<std::vector<std::string>>();
    card.test_accuracy = j.at("test_accuracy").get<double>();
  } catch (const nlohmann::json::exception& e) {
    fail<FormatError>("{}: its description cannot be read: {}", file, e.what());
  } catch (const Error& e) {
    fail<FormatError>("{}: its description cannot be used: {}", file, e.what());
  }
  if (card.inputs != "clean" && card.inputs != "noisy") {
    fail<FormatError>("{}: its inputs must be clean or noisy; got {}", file, card.inputs);
  }
  return card;
}

void save_classifier(const std::string& path, Classifier& network, const ClassifierCard& card) {
  nn::save_safetensors(path, nn::named_parameters(network), {{"classifier", card.to_json()}});
}

LoadedClassifier load_classifier(const std::string& path, Device device) {
  if (!std::filesystem::exists(path)) {
    stop(ExitCode::checkpoint, "--classifier {}: no such file", path);
  }
  return with_exit_code(ExitCode::checkpoint, [&] { return load(path, device); });
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

}  // namespace ito::app
