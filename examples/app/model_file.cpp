#include "examples/app/model_file.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "examples/app/exit_codes.h"
#include "examples/app/files.h"
#include "examples/app/train_options.h"
#include "nn/checkpoint.h"
#include "nn/flat.h"
#include "nn/safetensors.h"

namespace ito::app {
namespace {

using Json = nlohmann::ordered_json;

nn::SafeTensors load_weights(const std::string& path, Weights weights, std::string& source) {
  const char* name = weights == Weights::average ? "ema.safetensors" : "model.safetensors";
  if (!std::filesystem::is_directory(path)) {
    source = path;
    return nn::load_safetensors(path);
  }
  const nn::Checkpoint checkpoint = nn::load_checkpoint(path);
  source = (checkpoint.directory / name).string();
  return checkpoint.load(name);
}

std::string value_or(const nn::Metadata& metadata, const char* key, const char* otherwise) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? otherwise : found->second;
}

LoadedModel load(const std::string& path, Weights weights, Device device, DType dtype) {
  LoadedModel model;
  const nn::SafeTensors file = load_weights(path, weights, model.source);
  const auto config = file.metadata.find("config");
  if (config == file.metadata.end()) {
    fail<FormatError>(
        "{}: no configuration in its metadata; only files made by ito's training "
        "programs can be used without one",
        model.source);
  }
  model.card = ModelCard::from_json(config->second, model.source);
  model.weights = value_or(file.metadata, "weights", "raw");
  model.fingerprint = fingerprint(file);
  const std::string step = value_or(file.metadata, "step", "0");
  model.step = std::strtoll(step.c_str(), nullptr, 10);
  Rng init(0, Purpose::init);
  model.network = std::make_unique<UNet>(model.card.network, init);
  nn::assign_parameters(nn::named_parameters(*model.network), file);
  if (!device.is_cpu()) nn::FlatParameters(*model.network, device, dtype);
  return model;
}

}  // namespace

std::string ModelCard::to_json() const {
  return Json{{"network", Json::parse(network.to_json())},
              {"schedule", schedule},
              {"timesteps", timesteps},
              {"predict", predict},
              {"dataset", dataset},
              {"class_names", class_names}}
      .dump();
}

ModelCard ModelCard::from_json(const std::string& text, const std::string& file) {
  ModelCard card;
  try {
    const Json j = Json::parse(text);
    card.network = UNetConfig::from_json(j.at("network").dump());
    card.schedule = j.at("schedule").get<std::string>();
    card.timesteps = j.at("timesteps").get<std::int64_t>();
    card.predict = j.at("predict").get<std::string>();
    card.dataset = j.at("dataset").get<std::string>();
    if (card.timesteps > 100'000) {
      fail<ValueError>("timesteps must be at most 100000; got {}", card.timesteps);
    }
    make_process(card.schedule, card.timesteps, card.predict);  // throws where it cannot
    card.class_names = j.value("class_names", std::vector<std::string>{});
  } catch (const nlohmann::json::exception& e) {
    fail<FormatError>("{}: its configuration cannot be read: {}", file, e.what());
  } catch (const Error& e) {
    fail<FormatError>("{}: its configuration cannot be used: {}", file, e.what());
  }
  return card;
}

GaussianDiffusion LoadedModel::process() const {
  return make_process(card.schedule, card.timesteps, card.predict);
}

Denoiser LoadedModel::denoiser() const {
  return [net = network.get()](const Tensor& x_t, const Tensor& t) { return (*net)(x_t, t); };
}

LabelledDenoiser LoadedModel::labelled_denoiser() const {
  if (card.network.num_classes == 0) {
    stop(ExitCode::usage, "{}: this network was trained without classes, none can be asked for",
         source);
  }
  return network->labelled();
}

LoadedModel load_model(const std::string& path, Weights weights, Device device, DType dtype) {
  if (!std::filesystem::exists(path)) {
    stop(ExitCode::checkpoint, "--checkpoint {}: no such file or directory", path);
  }
  return with_exit_code(ExitCode::checkpoint, [&] { return load(path, weights, device, dtype); });
}

}  // namespace ito::app
